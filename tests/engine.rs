//! Tests of `ringrift engine`, used as another program uses it.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

struct Engine {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Engine {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringrift"))
            .arg("engine")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, input, output }
    }

    fn ask(&mut self, line: impl AsRef<[u8]>) -> String {
        let input = self.input.as_mut().expect("open");
        input.write_all(line.as_ref()).expect("the engine reads");
        input.write_all(b"\n").expect("the engine reads");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("the engine answers");
        assert!(answer.ends_with('\n'), "one whole line: {answer:?}");
        answer.trim_end().to_owned()
    }

    /// Closes the engine's input and returns its exit status.
    fn close(mut self) -> Option<i32> {
        drop(self.input.take());
        self.child.wait().expect("it ends").code()
    }
}

#[test]
fn a_game_is_played_to_its_end() {
    let mut engine = Engine::start();
    for config in ["hex8_2p", "square8_3p"] {
        assert!(engine.ask(format!("new {config}")).starts_with("state place p=1|"));
        let mut steps = 0;
        loop {
            let legal = engine.ask("legal");
            let words: Vec<&str> = legal.split(' ').collect();
            assert_eq!((words[0], words[1]), ("legal", (words.len() - 2).to_string().as_str()));
            if words[1] == "0" {
                break;
            }
            let player = if steps % 2 == 0 { "heuristic" } else { "random" };
            let answer = engine.ask(format!("go 8 {player} {steps}"));
            let mv = answer.strip_prefix("move ").expect("a move");
            assert!(words[2..].contains(&mv), "{mv} is legal");
            let state = engine.ask(format!("play {mv}"));
            assert_eq!(engine.ask("state"), state);
            steps += 1;
            assert!(steps < 2_000);
        }
        assert!(engine.ask("state").starts_with("state over w="));
        assert_eq!(engine.ask("go 8"), "error the game is over");
    }
    assert_eq!(engine.close(), Some(0));
}

#[test]
fn positions_are_set() {
    let mut engine = Engine::start();
    let position = "move p=1 must=0,0 acted=1|h17e0t0|h18e0t0|S 0,0:1|M |C |L f=0 m= x=0 n=0";
    assert_eq!(engine.ask(format!("set {position}")), format!("state {position}"));
    assert_eq!(engine.ask("play M:0,0>1,0"), engine.ask("state"));
    assert!(engine.ask("state").starts_with("state line p=1 acted=1|"));
    assert_eq!(engine.ask("legal"), "legal 1 NL");
    assert_eq!(engine.ask("go 1 random 3"), engine.ask("go 1 random 3"));
    assert_eq!(engine.close(), Some(0));
}

#[test]
fn bad_input_is_answered_and_changes_nothing() {
    let mut engine = Engine::start();
    let before = engine.ask("state");
    let long = "y".repeat(1 << 20);
    let bad: Vec<Vec<u8>> = [
        "",
        " ",
        "help",
        "NEW hex8_2p",
        "new",
        "new hex9_2p",
        "new hex8_2p x",
        "set",
        "set x",
        "set over w=9 r=x",
        "play",
        "play P:9,9*1",
        "play M:0,0>1,0",
        "play NP",
        "legal moves",
        "state x",
        "go",
        "go 0",
        "go x",
        "go 10001",
        "go -1 random",
        "go 5 random x",
        "go 5 random 1 2",
        "go 5 /no/such/model",
        "go 5 Cargo.toml",
        "go 5 random 99999999999999999999",
        &long,
    ]
    .into_iter()
    .map(|line| line.as_bytes().to_vec())
    .chain([b"\xff\xfe".to_vec(), b"play \0".to_vec(), b"new hex8_2p\rnew x".to_vec()])
    .collect();
    for line in bad {
        let answer = engine.ask(&line);
        let excerpt = String::from_utf8_lossy(&line[..line.len().min(40)]).into_owned();
        assert!(answer.starts_with("error "), "{excerpt:?}: {answer}");
        assert!(answer.len() > "error ".len() + 5 && answer.len() < 400, "{excerpt:?}: {answer}");
        assert_eq!(engine.ask("state"), before, "{excerpt:?}");
    }
    assert_eq!(engine.close(), Some(0));
}

#[test]
fn quitting_ends_with_success() {
    let mut engine = Engine::start();
    let mut input = engine.input.take().expect("open");
    input.write_all(b"quit\nstate\n").expect("the engine reads");
    let mut rest = String::new();
    engine.output.read_line(&mut rest).expect("readable");
    assert_eq!(rest, "", "nothing is answered after quit");
    assert_eq!(engine.close(), Some(0));
}

#[test]
fn a_match_is_reported() {
    let run = |args: &[&str]| crate::support::run(&[&["match"], args].concat());
    let output = run(&["heuristic", "random", "--games", "100", "--json"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let text = output.stdout;
    for part in ["\"games\":100", "\"win_rate\":{\"mean\":", "\"elo_error\":", "\"a\":\"heuristic\""] {
        assert!(text.contains(part), "{text}");
    }
    let again = run(&["heuristic", "random", "--games", "100", "--json"]);
    assert_eq!(again.stdout, text, "a match follows from its seed");
    let output = run(&["random", "random", "--games", "9", "--config", "hex8_3p"]);
    assert!(output.stdout.contains("hex8_3p: random against random, 9 games"));
    let output = run(&["/no/such/model", "random"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("no such file"));
}
