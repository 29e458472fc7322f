//! Whatever is pasted is a link or an error; a link has one spelling, and that one is a link.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nonstop_wire::MeetingLink;

fuzz_target!(|text: &str| {
    let Ok(link) = text.parse::<MeetingLink>() else {
        return;
    };
    let spelling = link.reveal();
    let again: MeetingLink = spelling.parse().expect("its own spelling is a link");
    assert_eq!(again, link);
    assert_eq!(again.reveal(), spelling);
    assert!(!format!("{link:?}{}", link.signalling_url()).contains(&spelling[spelling.len() - 22..]));
});
