//! Just enough of STUN (RFC 8489) to see whose connection a packet from an unknown place is for.

/// A Binding request.
const BINDING_REQUEST: [u8; 2] = [0, 1];
/// The USERNAME attribute.
const USERNAME: u16 = 6;
/// The bytes before the attributes.
const HEADER: usize = 20;

/// Returns the receiver's user name fragment of a Binding request (RFC 8445 section 7.2.2).
pub(super) fn receiver(message: &[u8]) -> Option<&str> {
    if message.get(..2)? != BINDING_REQUEST {
        return None;
    }
    let mut attributes = message.get(HEADER..)?;
    loop {
        let [kind_0, kind_1, length_0, length_1, rest @ ..] = attributes else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([*length_0, *length_1]));
        let value = rest.get(..length)?;
        if u16::from_be_bytes([*kind_0, *kind_1]) == USERNAME {
            let (receiver, _) = std::str::from_utf8(value).ok()?.split_once(':')?;
            return Some(receiver);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = vec![0; HEADER];
        message[1] = 1;
        for (kind, value) in attributes {
            message.extend(kind.to_be_bytes());
            message.extend((value.len() as u16).to_be_bytes());
            message.extend(*value);
            message.resize(message.len().next_multiple_of(4), 0);
        }
        message
    }

    #[test]
    fn the_first_half_of_the_user_name_is_the_receivers() {
        let message = request(&[(0x8022, b"x"), (6, b"relay:client"), (8, &[0; 20])]);
        assert_eq!(receiver(&message), Some("relay"));
    }

    #[test]
    fn what_is_cut_off_or_of_another_kind_has_no_receiver() {
        let message = request(&[(0x8022, b"xyz"), (6, b"relay:client")]);
        for length in 0..message.len() {
            assert_eq!(receiver(&message[..length]), None);
        }
        assert_eq!(receiver(&request(&[(6, b"nobody")])), None);
        assert_eq!(receiver(&request(&[])), None);
        let mut answer = message.clone();
        answer[0] = 1;
        assert_eq!(receiver(&answer), None);
    }
}
