//! Both ends over real sockets, and ends that do not keep to the handshake.

use super::*;
use crate::keys::{DoorKey, Exclusion};
use libp2p::{identity::Keypair, tcp::tokio::TcpStream};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net,
};

struct End {
    peer: PeerId,
    handshake: Handshake,
    questions: mpsc::Receiver<Question>,
}

impl End {
    fn new(boot: u64, keys: Vec<DoorKey>) -> Self {
        let identity = Keypair::generate_ed25519();
        let (asks, questions) = mpsc::channel(4);
        let ring = KeyRing::new("test");
        ring.set(keys);
        let handshake =
            Handshake { noise: noise::Config::new(&identity).unwrap(), keys: ring, boot, questions: asks };
        Self { peer: identity.public().to_peer_id(), handshake, questions }
    }
}

async fn sockets() -> (net::TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialler = net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (dialler, listener.accept().await.unwrap().0)
}

type Outcome = Result<PeerId, HandshakeError>;

/// Both ends shake hands; the service of the end that is dialled answers `alone`.
async fn meet(dialler: &End, listener: &mut End, alone: bool) -> (Outcome, Outcome) {
    let (one, two) = sockets().await;
    let dial = dialler.handshake.clone().dial(TcpStream(one));
    let receive = listener.handshake.clone().receive(TcpStream(two));
    let answer = async {
        if let Some(question) = listener.questions.recv().await {
            assert_eq!((question.peer, question.boot), (dialler.peer, dialler.handshake.boot));
            question.answer.send(alone).unwrap();
        }
    };
    let both = async { tokio::join!(dial, receive) };
    tokio::pin!(both);
    let (dialled, received) = tokio::select! {
        ended = &mut both => ended,
        () = answer => both.await,
    };
    (dialled.map(|(peer, _)| peer), received.map(|(peer, _)| peer))
}

fn key(n: u8) -> DoorKey {
    DoorKey::new([n; 32])
}

fn told(outcome: Outcome) -> (Option<PeerId>, EntryRefusal) {
    match outcome {
        Err(HandshakeError::Refused { peer, refusal }) => (peer, refusal),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_common_key_is_enough_also_an_old_one() {
    for (dialler, listener) in [
        (vec![], vec![]),
        (vec![key(1)], vec![key(1)]),
        (vec![key(2), key(1)], vec![key(1)]),
        (vec![key(1)], vec![key(2), key(1)]),
        ((0..60).map(key).collect(), (11..200).map(key).collect()),
    ] {
        let (dialler, mut listener) = (End::new(7, dialler), End::new(8, listener));
        let (dialled, received) = meet(&dialler, &mut listener, true).await;
        assert_eq!((dialled.unwrap(), received.unwrap()), (listener.peer, dialler.peer));
    }
}

#[tokio::test]
async fn without_a_common_key_nothing_is_proved_and_the_dialler_knows_why() {
    for (dialler, listener) in [(vec![], vec![key(1)]), (vec![key(1)], vec![]), (vec![key(2)], vec![key(1)])]
    {
        let (dialler, mut listener) = (End::new(7, dialler), End::new(8, listener));
        let (dialled, received) = meet(&dialler, &mut listener, true).await;
        assert_eq!(told(dialled), (None, EntryRefusal::UnknownKey));
        assert!(matches!(received, Err(HandshakeError::NoCommonKey)), "{received:?}");
    }
}

#[tokio::test]
async fn who_may_not_come_in_is_told_by_a_peer_that_has_proved_its_id() {
    let dialler = End::new(7, vec![key(1)]);
    let mut listener = End::new(8, vec![key(1)]);
    let by = Some(listener.peer);
    let (dialled, received) = meet(&dialler, &mut listener, false).await;
    assert_eq!(told(dialled), (by, EntryRefusal::Duplicate));
    assert!(matches!(received, Err(HandshakeError::TurnedAway { peer, .. }) if peer == dialler.peer));

    listener.handshake.keys.set_members([PeerId::random()].into());
    listener.handshake.keys.set(vec![key(1).for_members("this ticket has been used up")]);
    let (dialled, _) = meet(&dialler, &mut listener, true).await;
    assert_eq!(told(dialled), (by, EntryRefusal::Closed("this ticket has been used up".into())));

    let why = "\u{1b}[2J".to_owned() + &"ö".repeat(300);
    let out = Exclusion { why, until_key_of_ms: None };
    listener.handshake.keys.set_shut_out([(dialler.peer, out)].into());
    let (dialled, _) = meet(&dialler, &mut listener, true).await;
    let (peer, EntryRefusal::ShutOut(why)) = told(dialled) else { panic!("not shut out") };
    assert_eq!(peer, by);
    assert!(
        why.starts_with(" [2Jö") && why.len() <= WHY_BYTES_MAX,
        "bounded, and it steers no terminal: {why}"
    );

    // Whom the dialler shuts out itself does not come in by being dialled.
    let out = Exclusion { why: "removed".into(), until_key_of_ms: None };
    listener.handshake.keys.set_shut_out([].into());
    listener.handshake.keys.set(vec![key(1)]);
    dialler.handshake.keys.set_shut_out([(listener.peer, out)].into());
    let (dialled, _) = meet(&dialler, &mut listener, true).await;
    assert!(matches!(dialled, Err(HandshakeError::TurnedAway { .. })), "{dialled:?}");
}

/// What the end that is dialled makes of these bytes, after which the other is silent or hangs up.
async fn received(bytes: &[u8], hang_up: bool) -> Option<Result<(), HandshakeError>> {
    let listener = End::new(8, vec![key(1)]);
    let (mut one, two) = sockets().await;
    one.write_all(bytes).await.unwrap();
    if hang_up {
        one.shutdown().await.unwrap();
    }
    let receive = listener.handshake.clone().receive(TcpStream(two));
    let outcome = tokio::time::timeout(Duration::from_millis(300), receive).await.ok()?;
    let mut answer = Vec::new();
    let _ = one.read_to_end(&mut answer).await;
    assert!(answer.len() < 500, "a stranger is not talked to at length");
    Some(outcome.map(drop))
}

#[tokio::test]
async fn garbage_ends_the_handshake_and_silence_waits_for_the_timeout() {
    let own = KeyRing::new("test");
    own.set(vec![key(1)]);
    let offer = encode_offer(&[own.offer()[0].id]);
    let noise: Vec<u8> = (0..=255).cycle().take(4096).collect();
    for garbage in
        [&b"\0"[..], b"\xff", b"\x0d", b"GET / HTTP/1.1\r\n\r\n", &[offer.as_slice(), &noise].concat()]
    {
        let outcome = received(garbage, false).await;
        assert!(matches!(outcome, Some(Err(_))), "{garbage:?}: {outcome:?}");
    }
    for half in [&offer[..0], &offer[..1], &offer[..offer.len() - 1], &offer] {
        assert!(received(half, false).await.is_none(), "it may still come");
        let outcome = received(half, true).await;
        assert!(matches!(outcome, Some(Err(_))), "{half:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_slow_peer_gets_through_and_a_liar_does_not() {
    let (dialler, mut listener) = (End::new(7, vec![key(1)]), End::new(8, vec![key(1)]));
    // The bytes come one by one.
    let ((one, mut near), (mut far, two)) = (sockets().await, sockets().await);
    let pump = async {
        let mut byte = [0];
        let (mut near_read, mut near_write) = near.split();
        let (mut far_read, mut far_write) = far.split();
        let there = async {
            while near_read.read(&mut byte).await.is_ok_and(|n| n > 0) {
                tokio::time::sleep(Duration::from_micros(200)).await;
                far_write.write_all(&byte).await.unwrap();
            }
        };
        let back = tokio::io::copy(&mut far_read, &mut near_write);
        let _ = tokio::join!(there, back);
    };
    let answer = async {
        let question = listener.questions.recv().await.unwrap();
        question.answer.send(true).unwrap();
        std::future::pending::<()>().await;
    };
    let began = Instant::now();
    let both = async {
        tokio::join!(
            dialler.handshake.clone().dial(TcpStream(one)),
            listener.handshake.clone().receive(TcpStream(two))
        )
    };
    tokio::select! {
        (dialled, received) = both => {
            assert_eq!(dialled.unwrap().0, listener.peer);
            assert_eq!(received.unwrap().0, dialler.peer);
        }
        () = pump => panic!("the pump ends last"),
        () = answer => panic!("it waits"),
    }
    assert!(began.elapsed() < Duration::from_secs(5));

    // Whoever answers with a place that was not named, or with no known word, is left.
    let (one, mut two) = sockets().await;
    two.write_all(&[3]).await.unwrap();
    let outcome = dialler.handshake.clone().dial(TcpStream(one)).await.map(drop);
    assert!(matches!(outcome, Err(HandshakeError::Malformed(_))), "{outcome:?}");
}
