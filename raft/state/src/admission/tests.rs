use super::*;

const KIND: u8 = 0x2d;

#[test]
fn no_key_is_printed() {
    let key = [0xab; 32];
    let secret = Secret { bytes: key, since_ms: 1, number: 2 };
    let ticket = Ticket { key, uses_left: 1, expires_ms: 2, issued_ms: 3, note: "n".into() };
    let admissions = Admissions {
        secret: Some(secret.clone()),
        previous: vec![secret],
        by_secret: true,
        tickets: BTreeMap::from([(ticket_id(&key), ticket)]),
        ..Admissions::default()
    };
    let invitation = Invitation { address: "/ip4/127.0.0.1/tcp/1/p2p/x".into(), token: key };
    let shown = [Admission::Secret(key), Admission::by_ticket(&key, "peer-1")];
    let printed = format!("{admissions:?} {invitation:?} {shown:?}");
    for leak in ["171", "abab", "ab, ab"] {
        assert!(!printed.contains(leak), "{printed}");
    }
    assert!(printed.contains(&ticket_id(&key).to_string()), "{printed}");
}

#[test]
fn what_is_derived_differs_by_purpose_and_by_peer() {
    let key = [7; 32];
    let derived = [
        key,
        ticket_id(&key).0.0,
        ticket_key(&key),
        secret_proof(&key, "peer-1"),
        secret_proof(&key, "peer-2"),
        secret_proof(&[8; 32], "peer-1"),
        secret_of_text("a"),
        secret_of_text("b"),
    ];
    let different: std::collections::BTreeSet<_> = derived.iter().collect();
    assert_eq!(different.len(), derived.len());
    assert_eq!(secret_of_text(" a\n"), secret_of_text("a"));
}

#[test]
fn a_ticket_is_signed_for_one_peer() {
    let Admission::Ticket { ticket, signature } = Admission::by_ticket(&[7; 32], "peer-1") else {
        panic!("no ticket")
    };
    assert_eq!(ticket, ticket_id(&[7; 32]));
    assert!(is_signed_for(ticket, "peer-1", &signature));
    assert!(!is_signed_for(ticket, "peer-2", &signature), "another peer shows it");
    assert!(!is_signed_for(ticket_id(&[8; 32]), "peer-1", &signature), "another ticket");
    // Neither is what was signed for another purpose, or under a key of small order.
    let other = SigningKey::from_bytes(&[7; 32]).sign(b"peer-1").into();
    assert!(!is_signed_for(ticket, "peer-1", &other));
    let mut one = [0; 32];
    one[0] = 1;
    let nothing = Signature::of(&[one, [0; 32]].concat()).unwrap();
    assert!(!is_signed_for(TicketId(Hash(one)), "peer-1", &nothing));
}

#[test]
fn how_a_member_was_admitted_is_a_text_and_every_text_is_kept() {
    let known = ["founder", "secret", "open", "ticket 01234567", "ticket abcdef01"];
    for text in known.into_iter().chain(["", "ticket", "ticket 0123456", "ticket 0123456G", "by magic"]) {
        let admitted = Admitted::of(text);
        assert_eq!(admitted.to_string(), text);
        assert_eq!(matches!(admitted, Admitted::Other(_)), !known.contains(&text), "{text}");
        let bytes = wire::encode(KIND, &admitted, 999).unwrap();
        assert_eq!(wire::decode::<Admitted, 999>(KIND, &bytes).unwrap(), admitted);
        assert_eq!(wire::encode(KIND, &text.to_owned(), 999).unwrap(), bytes);
    }
}

#[test]
fn a_ticket_is_read_as_it_is_written() {
    let address = "/ip4/192.0.2.1/tcp/7400/p2p/12D3KooWx";
    let ticket = Invitation { address: address.into(), token: [0xab; 32] };
    assert_eq!(ticket.to_string().parse(), Ok(ticket));
    let hex = "ab".repeat(32);
    for (text, error) in [
        (address.to_owned(), InvitationError::NoTicket),
        (String::new(), InvitationError::NoTicket),
        (format!("{address}/ticket/"), InvitationError::Token),
        (format!("{address}/ticket/{}", &hex[1..]), InvitationError::Token),
        (format!("{address}/ticket/{hex}/ticket/{hex}"), InvitationError::Token),
        (format!("/ticket/{hex}"), InvitationError::Address),
        (format!("/ip4/192.0.2.1/tcp/7400/ticket/{hex}"), InvitationError::Address),
        (format!("/ip4/192.0.2.1/p2p/x/tcp/1/ticket/{hex}"), InvitationError::Address),
        (format!("{}{address}/ticket/{hex}", "/dns4/x".repeat(200)), InvitationError::Address),
    ] {
        assert_eq!(text.parse::<Invitation>(), Err(error), "{text}");
    }
}
