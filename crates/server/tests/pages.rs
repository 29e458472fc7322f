//! What browsers and monitors see.

mod client;

use base64::{Engine, engine::general_purpose::STANDARD};
use client::{Client, fetch, serve};
use nonstop_server::Config;
use sha2::{Digest, Sha256};

#[tokio::test]
async fn health_counts_rooms_and_participants() {
    let (_server, address) = serve(Config::default()).await;
    let _ann = Client::join(address, "standup", 1).await;
    let _bob = Client::join(address, "standup", 2).await;
    let _eve = Client::join(address, "review", 1).await;
    let answer = fetch(address, "/healthz").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let health: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["protocol"], 1);
    assert_eq!(health["rooms"], 2);
    assert_eq!(health["participants"], 3);
}

#[tokio::test]
async fn a_meeting_links_address_offers_to_open_the_application() {
    let (_server, address) = serve(Config::default()).await;
    let answer = fetch(address, "/stand-up-7").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(body.contains("<h1>stand-up-7</h1>"), "{body}");
    assert!(body.contains("Open Nonstop"));
    assert!(body.contains("\"nonstop://\" + location.host"));
}

#[tokio::test]
async fn pages_load_nothing_and_allow_only_their_own_style_and_script() {
    let (_server, address) = serve(Config::default()).await;
    for path in ["/", "/standup", "/No-Such-Page"] {
        let answer = fetch(address, path).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let policy = head
            .lines()
            .find_map(|line| line.strip_prefix("content-security-policy: "));
        let policy = policy.expect("there is a policy");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        for tag in ["style", "script"] {
            if let Some((_, rest)) = body.split_once(&format!("<{tag}>")) {
                let (text, _) = rest.split_once(&format!("</{tag}>")).unwrap();
                let hash = STANDARD.encode(Sha256::digest(text));
                assert!(
                    policy.contains(&format!("{tag}-src 'sha256-{hash}'")),
                    "{path} {tag}"
                );
            }
        }
        for foreign in [
            "src=", "http:", "https://", "@import", "url(", "style=", "onclick",
        ] {
            assert!(!body.contains(foreign), "{path} has {foreign}");
        }
        assert!(head.contains("referrer-policy: no-referrer"), "{head}");
    }
}

#[tokio::test]
async fn what_is_no_room_is_not_found() {
    let (_server, address) = serve(Config::default()).await;
    let long = format!("/{}", "a".repeat(65));
    for path in [
        "/Room",
        "/a.b",
        "/a/b",
        "/%3Cscript%3E",
        "/favicon.ico",
        &long,
    ] {
        let answer = fetch(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        assert!(!answer.contains("<script>"), "{path}");
    }
}
