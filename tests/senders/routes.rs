//! Every route of the HTTP interface, without a token, with a wrong one, for another host, for pages of other
//! sites, and with the token.

use super::{NOWHERE, world::World};
use crate::strangers::{asked, http_of};
use std::{fs, path::Path};

/// The routes of the HTTP interface with their methods, as the sources name them.
fn routes() -> Vec<(&'static str, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let source = fs::read_to_string(entry.unwrap().path()).unwrap();
        for route in source.split(".route(").skip(1) {
            let (path, rest) = route.trim_start().strip_prefix('"').unwrap().split_once("\",").unwrap();
            let (mut open, mut handlers) = (1, String::new());
            for letter in rest.chars() {
                open += match letter {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                if open == 0 {
                    break;
                }
                handlers.push(letter);
            }
            let path = path.replace("{hash}", &NOWHERE.to_string()).replace("{id}", "1");
            let path = path.replace("{name}", "nobody");
            let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "ANY"];
            let has = |method: &&str| handlers.contains(&format!("{}(", method.to_lowercase()));
            let methods: Vec<_> = methods.into_iter().filter(has).collect();
            assert!(!methods.is_empty() && !path.contains('{'), "{path}{handlers}");
            found.extend(methods.into_iter().map(|method| (method, path.clone())));
        }
    }
    found
}

impl World {
    /// Asks every route of a peer as each who could ask; the last of the three peers has closed reads.
    pub(super) fn every_route_asks_for_what_it_needs(&self, index: usize) {
        let peer = self.peer(index);
        let closed = index == 2;
        let (address, token) = (http_of(peer), fs::read_to_string(peer.folder.join("token")).unwrap());
        let ask = |method: &str, path: &str, headers: &str| {
            let request = format!(
                "{method} {path} HTTP/1.1\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n"
            );
            asked(address, &request).0
        };
        let (here, shown) = (format!("host: {address}\r\n"), format!("authorization: Bearer {token}\r\n"));
        let wrong = format!("authorization: Bearer {}\r\n", "0".repeat(token.len()));
        let before = self.at_rest();
        let routes = routes();
        assert!(routes.len() > 25, "{routes:?}");
        for (method, path) in &routes {
            let check = |what: &str, headers: &[&str], expected: &[u16]| {
                let status = ask(method, path, &headers.concat());
                assert!(expected.contains(&status), "{method} {path}, {what}: {status}");
            };
            let read = !closed && *method == "GET";
            let without = if read { &[200, 400, 404][..] } else { &[401] };
            check("without a token", &[&here], without);
            check("with a wrong token", &[&here, &wrong], without);
            check("for another host", &["host: evil.example\r\n", &shown], &[403]);
            check("of another site", &[&here, &shown, "origin: http://evil.example\r\n"], &[403]);
            check("of a page elsewhere", &[&here, &shown, "sec-fetch-site: cross-site\r\n"], &[403]);
        }
        assert_eq!(self.state(), before, "HTTP");
        for (method, path) in &routes {
            let status = ask(method, path, &[here.as_str(), &shown].concat());
            assert!(![0, 401, 403, 405].contains(&status), "{method} {path} with the token: {status}");
        }
        eprintln!("{} routes, closed: {closed}", routes.len());
    }
}
