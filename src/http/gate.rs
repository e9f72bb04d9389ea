//! Which requests pass, and as whose.
//!
//! Invariant: no handler and no byte of a body is reached before [`Rules::standing`] has said who asks. A
//! web page can make a browser send requests to this host; its `Host`, `Origin` and `Sec-Fetch-Site` give it
//! away.

use super::{front::Front, refused::Refused, server::Caller};
use crate::{
    clock::now_ms,
    peer::pass,
    store::token::{self, TOKEN_FILE},
};
use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http_body::{Frame, SizeHint};
use std::{
    collections::BTreeSet,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Sleep;

/// Maximum time for the body of a request.
const BODY: Duration = Duration::from_secs(5);
/// Where content is served, which members may read.
const CONTENT: &str = "/v1/blobs/";
/// A browser says here where a request comes from.
const FETCH_SITE: &str = "sec-fetch-site";

/// Which requests pass.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Names of this host, in small letters, that a `Host` may have beside its addresses.
    pub names: BTreeSet<String>,
    /// Whether this host's processes may read without the token.
    pub loopback_reads: bool,
    /// This node's libp2p id, to which the pass of a member is made out.
    pub me: String,
}

/// Who asks. An operator may do everything, and the others only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// A process of this host.
    Local,
    /// A member of the cluster, who fetches content.
    Member,
    /// Whoever can read the data folder.
    Operator,
}

/// What a request says of itself.
struct RequestFacts<'a> {
    method: &'a Method,
    path: &'a str,
    /// The host that the first line names, if it does.
    target: Option<&'a Authority>,
    headers: &'a HeaderMap,
    from: IpAddr,
}

impl RequestFacts<'_> {
    fn text(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

fn forbidden(why: String) -> Refused {
    Refused(StatusCode::FORBIDDEN, why)
}

impl Rules {
    /// Refuses what a browser sends for a page of another site.
    fn same_site(&self, asked: &RequestFacts) -> Result<(), Refused> {
        let host = asked.text(header::HOST).unwrap_or_default();
        let named = |name: &str| {
            let name = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
            let name = name.to_ascii_lowercase();
            name == "localhost" || name.parse::<IpAddr>().is_ok() || self.names.contains(&name)
        };
        let ours = host.parse::<Authority>().is_ok_and(|host| named(host.host()));
        if !ours || asked.headers.get_all(header::HOST).iter().count() > 1 {
            let why = format!(
                "this is not host {host:?}: ask by address, or name it in the setting http.names of this node"
            );
            return Err(forbidden(why));
        }
        if asked.target.is_some_and(|target| !target.as_str().eq_ignore_ascii_case(host)) {
            return Err(forbidden("the request names two hosts".to_owned()));
        }
        if let Some(origin) = asked.headers.get(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if !site.is_some_and(|site| site.eq_ignore_ascii_case(host)) {
                return Err(forbidden(format!("pages of {origin:?} may not use this interface")));
            }
        }
        if asked.headers.get(FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none") {
            return Err(forbidden("pages of other sites may not use this interface".to_owned()));
        }
        Ok(())
    }

    /// Who asks. `token` is that of the data folder; `is_member` is given the pass of a member.
    fn access(
        &self,
        asked: &RequestFacts,
        token: &str,
        is_member: impl FnOnce(&str) -> bool,
    ) -> Result<Access, Refused> {
        self.same_site(asked)?;
        let shown = asked.text(header::AUTHORIZATION);
        if token::allows(token, shown) {
            return Ok(Access::Operator);
        }
        let reads = *asked.method == Method::GET || *asked.method == Method::HEAD;
        if reads && self.loopback_reads && asked.from.is_loopback() {
            return Ok(Access::Local);
        }
        if reads && asked.path.starts_with(CONTENT) && shown.is_some_and(is_member) {
            return Ok(Access::Member);
        }
        let what = if reads { "to read away from this host" } else { "not allowed" };
        let why = format!(
            "{what}: send `authorization: Bearer` and what the data folder's file {TOKEN_FILE:?} holds"
        );
        Err(Refused(StatusCode::UNAUTHORIZED, why))
    }
}

/// Lets a request pass to its handler, or refuses it.
pub(super) async fn pass(State(front): State<Arc<Front>>, mut request: Request, next: Next) -> Response {
    match access(&front, &request) {
        Ok(standing) => {
            request.extensions_mut().insert(standing);
            next.run(request.map(|body| Body::new(TimedBody::new(body)))).await
        }
        Err(refused) => refused.into_response(),
    }
}

fn access(front: &Front, request: &Request) -> Result<Access, Refused> {
    // The server names the caller of every request.
    let Some(Caller(from)) = request.extensions().get().copied() else {
        return Err(Refused::internal("nobody asks"));
    };
    let (method, path) = (request.method(), request.uri().path());
    let asked =
        RequestFacts { method, path, target: request.uri().authority(), headers: request.headers(), from };
    // A stranger does not learn what a node waits for.
    front.rules.same_site(&asked)?;
    let handles = match front.handles() {
        Ok(handles) => handles,
        Err(refused) if from.is_loopback() => return Err(refused),
        Err(_) => return Err(Refused(StatusCode::SERVICE_UNAVAILABLE, "the node is starting".to_owned())),
    };
    let state = handles.node.raft.local();
    front.rules.access(&asked, &handles.token, |shown| {
        pass::is_members(shown, &front.rules.me, path, now_ms(), |peer| state.node_of_peer(peer).is_some())
    })
}

/// The body of a request, which fails if it does not come in time.
struct TimedBody {
    body: Body,
    deadline: Pin<Box<Sleep>>,
}

impl TimedBody {
    fn new(body: Body) -> Self {
        Self { body, deadline: Box::pin(tokio::time::sleep(BODY)) }
    }
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err("the body did not come in time".into())));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123";
    const BEARER: &str = "Bearer 0123";

    fn rules(loopback_reads: bool) -> Rules {
        Rules { names: BTreeSet::from(["node-a".to_owned()]), loopback_reads, me: "me".to_owned() }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let parse = |(name, value): &(&'static str, &str)| {
            (header::HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.iter().map(parse).collect()
    }

    #[test]
    fn a_request_names_this_host_and_comes_from_no_other_site() {
        let check = |pairs: &[(&'static str, &str)], expected: bool| {
            let (headers, from) = (headers(pairs), IpAddr::from([127, 0, 0, 1]));
            let asked =
                RequestFacts { method: &Method::GET, path: "/", target: None, headers: &headers, from };
            assert_eq!(rules(true).same_site(&asked).is_ok(), expected, "{pairs:?}");
        };
        for host in
            ["127.0.0.1:80", "192.0.2.1", "[::1]:80", "localhost:9", "LOCALHOST", "Node-A:1", "node-a."]
        {
            check(&[("host", host)], true);
        }
        for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "node-a.evil.example", ""] {
            check(&[("host", host)], false);
        }
        check(&[], false);
        check(&[("host", "127.0.0.1"), ("host", "evil.example")], false);
        let from = |origin: &str, expected| check(&[("host", "127.0.0.1:80"), ("origin", origin)], expected);
        from("http://127.0.0.1:80", true);
        from("https://127.0.0.1:80", true);
        from("http://127.0.0.1:81", false);
        from("http://evil.example", false);
        from("null", false);
        let site = |site: &str, expected| check(&[("host", "127.0.0.1:80"), (FETCH_SITE, site)], expected);
        site("same-origin", true);
        site("none", true);
        site("cross-site", false);
        site("same-site", false);
    }

    #[test]
    fn the_first_line_names_no_other_host() {
        let headers = headers(&[("host", "127.0.0.1:80")]);
        let check = |target: &str, expected: bool| {
            let target: Authority = target.parse().unwrap();
            let (method, from) = (&Method::GET, IpAddr::from([127, 0, 0, 1]));
            let asked = RequestFacts { method, path: "/", target: Some(&target), headers: &headers, from };
            assert_eq!(rules(true).same_site(&asked).is_ok(), expected, "{target}");
        };
        check("127.0.0.1:80", true);
        check("evil.example:80", false);
    }

    #[test]
    fn who_asks() {
        let home = IpAddr::from([127, 0, 0, 1]);
        let away = IpAddr::from([192, 0, 2, 9]);
        let check = |open, from, method: &Method, path, shown: &str, expected: Option<Access>| {
            let mut pairs = vec![("host", "192.0.2.1:80")];
            pairs.extend((!shown.is_empty()).then_some(("authorization", shown)));
            let headers = headers(&pairs);
            let asked = RequestFacts { method, path, target: None, headers: &headers, from };
            let found = rules(open).access(&asked, TOKEN, |shown| shown == "pass");
            assert_eq!(found.ok(), expected, "{open} {from} {method} {path} {shown}");
        };
        let (get, head, post) = (&Method::GET, &Method::HEAD, &Method::POST);
        check(true, home, get, "/v1/status", "", Some(Access::Local));
        check(true, home, head, "/v1/status", "", Some(Access::Local));
        check(true, home, post, "/v1/audit", "", None);
        check(true, home, post, "/v1/audit", "pass", None);
        check(true, home, post, "/v1/audit", BEARER, Some(Access::Operator));
        check(true, away, get, "/v1/status", "", None);
        check(true, away, get, "/v1/status", "Bearer 0124", None);
        check(true, away, get, "/v1/status", "pass", None);
        check(true, away, get, "/v1/status", BEARER, Some(Access::Operator));
        check(true, away, get, "/v1/blobs/ab", "pass", Some(Access::Member));
        check(true, away, post, "/v1/blobs/ab/pull", "pass", None);
        check(true, away, get, "/v1/blobs/ab", "", None);
        check(false, home, get, "/v1/status", "", None);
        check(false, home, get, "/v1/status", BEARER, Some(Access::Operator));
        check(false, home, get, "/v1/blobs/ab", "pass", Some(Access::Member));
    }
}
