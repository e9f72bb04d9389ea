//! Range requests to a holder's HTTP interface.
//!
//! Invariant: a holder's list of pieces must hash to the content's name and every piece must hash to its
//! entry in the list, so the first wrong piece exposes a holder that lies. A transfer that breaks continues
//! at the piece where it broke.

use super::WantedContent;
use crate::{clock::now_ms, peer::pass};
use p2p::{
    P2pHandle, Scope, Signer,
    blobs::{BlobError, OUTLINE_BYTES_MAX, Outline},
    transfer::Intake,
};
use std::{
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    ops::Range,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use ureq::http::StatusCode;

const CONNECT: Duration = Duration::from_secs(3);
/// Maximum time to the first byte of an answer, and between two reads of one: to make the list of pieces, the
/// holder reads the whole content.
const STALL: Duration = Duration::from_secs(10);
/// Maximum number of pieces in one request.
const RUN_MAX: usize = 16;
/// A holder is given up after this many broken requests in a row that brought nothing.
const FAILURES_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// Why a holder did not deliver.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("it sent a wrong {0}")]
    Wrong(&'static str),
    #[error("{0} bytes are too many")]
    TooLarge(u64),
    #[error("the transfer broke: {0}")]
    Broken(String),
    #[error("not in time")]
    Timeout,
    #[error(transparent)]
    Store(#[from] BlobError),
}

impl HttpError {
    /// Whether the holder sent something other than the content.
    pub(super) fn is_lie(&self) -> bool {
        match self {
            Self::Wrong(_) => true,
            Self::Status(_) | Self::TooLarge(_) | Self::Broken(_) | Self::Timeout | Self::Store(_) => false,
        }
    }
}

/// Where this node can reach an HTTP interface that another one announces as `url`. One that listens on every
/// address is reached where the node's peers reach it. A URL that is no plain address is not used, nor is
/// loopback, unless that node is `local`, which is on this host: it would be another program of this one.
pub(crate) fn reachable(url: &str, addrs: &[String], local: bool) -> Option<SocketAddr> {
    let address: SocketAddr = url.strip_prefix("http://")?.trim_end_matches('/').parse().ok()?;
    let leads_there = |ip: &IpAddr| match Scope::of(*ip) {
        Some(Scope::Host) => local,
        Some(Scope::Net) => true,
        Some(Scope::Link) | None => false,
    };
    let ip = match address.ip() {
        ip if ip.is_unspecified() => {
            let peers = addrs.iter().filter_map(|addr| addr.split('/').nth(2)?.parse::<IpAddr>().ok());
            peers.into_iter().find(leads_there)?
        }
        ip => Some(ip).filter(leads_there)?,
    };
    Some(SocketAddr::new(ip, address.port()))
}

/// What proves to a holder that a member asks.
pub(super) struct Pass {
    pub(super) signer: Signer,
    /// The holder's libp2p id.
    pub(super) to: String,
}

/// Fetches content from one holder. The outer error is a failure of this node's disk.
pub(super) async fn fetch(
    p2p: &P2pHandle,
    pass: Pass,
    wanted: WantedContent,
    address: SocketAddr,
    deadline: Instant,
) -> Result<Result<(), HttpError>, BlobError> {
    let Some(intake) = p2p.intake(wanted.hash).await? else { return Ok(Ok(())) };
    let stop = CancellationToken::new();
    // The caller may give up; the thread then ends at the next piece.
    let _stop = stop.clone().drop_guard();
    let work =
        move || Download { pass, wanted, base: format!("http://{address}"), deadline, stop }.run(intake);
    match tokio::task::spawn_blocking(work).await {
        Ok(Err(HttpError::Store(error))) => Err(error),
        Ok(outcome) => Ok(outcome),
        Err(_) => Ok(Err(HttpError::Broken("stopped".to_owned()))),
    }
}

struct Download {
    pass: Pass,
    wanted: WantedContent,
    base: String,
    deadline: Instant,
    stop: CancellationToken,
}

impl Download {
    fn run(&self, mut intake: Intake) -> Result<(), HttpError> {
        let mut failures = 0;
        loop {
            let before = intake.missing().map(|missing| missing.start);
            let outcome = if intake.outline().is_none() {
                self.begin(&mut intake)
            } else if let Some(missing) = intake.missing() {
                let end = missing.end.min(missing.start + RUN_MAX);
                self.take(&mut intake, missing.start..end)
            } else {
                intake.finish()?;
                return Ok(());
            };
            match outcome {
                Ok(()) => failures = 0,
                Err(HttpError::Broken(_)) if before != intake.missing().map(|missing| missing.start) => {
                    failures = 0;
                }
                Err(HttpError::Broken(reason)) => {
                    failures += 1;
                    if failures >= FAILURES_MAX {
                        return Err(HttpError::Broken(reason));
                    }
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Fetches the list of pieces, and the last piece, which proves the size.
    fn begin(&self, intake: &mut Intake) -> Result<(), HttpError> {
        let mut answer = self.get("/outline", None)?;
        if answer.status() != StatusCode::OK {
            return Err(HttpError::Status(answer.status()));
        }
        let body = answer.body_mut().with_config().limit(OUTLINE_BYTES_MAX as u64).read_to_vec();
        let body = body.map_err(|error| HttpError::Broken(error.to_string()))?;
        let outline = Outline::decode(&body, self.wanted.hash).ok_or(HttpError::Wrong("list of pieces"))?;
        if self.wanted.size.is_some_and(|size| size != outline.size()) {
            return Err(HttpError::Wrong("size"));
        }
        if outline.size() > self.wanted.bytes_max {
            return Err(HttpError::TooLarge(outline.size()));
        }
        let last = outline.count() - 1;
        let mut piece = Vec::new();
        self.pieces(&outline, last..last + 1, |_, bytes| {
            piece = bytes;
            Ok(())
        })?;
        if intake.begin(outline, &piece)? { Ok(()) } else { Err(HttpError::Wrong("last piece")) }
    }

    fn take(&self, intake: &mut Intake, run: Range<usize>) -> Result<(), HttpError> {
        let Some(outline) = intake.outline().cloned() else { return Ok(()) };
        self.pieces(&outline, run, |index, piece| {
            if intake.put(index, &piece)? { Ok(()) } else { Err(HttpError::Wrong("piece")) }
        })
    }

    /// Requests consecutive pieces and hands them on as they arrive.
    fn pieces(
        &self,
        outline: &Outline,
        run: Range<usize>,
        mut each: impl FnMut(usize, Vec<u8>) -> Result<(), HttpError>,
    ) -> Result<(), HttpError> {
        let ranges: Vec<(u64, usize)> = run.clone().filter_map(|index| outline.range(index)).collect();
        let (Some((begin, _)), Some((last, length))) = (ranges.first(), ranges.last()) else { return Ok(()) };
        let end = last + *length as u64;
        // An empty content has one empty piece, and no byte to request.
        if *begin == end {
            return each(run.start, Vec::new());
        }
        let answer = self.get("", Some(*begin..end))?;
        let whole = *begin == 0 && end == outline.size();
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK if whole => {}
            status => return Err(HttpError::Status(status)),
        }
        let mut body = answer.into_body().into_with_config().limit(end - begin).reader();
        for (index, (_, length)) in run.zip(ranges) {
            self.check()?;
            let mut piece = vec![0; length];
            body.read_exact(&mut piece).map_err(|error: io::Error| HttpError::Broken(error.to_string()))?;
            each(index, piece)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), HttpError> {
        let late = self.stop.is_cancelled() || Instant::now() >= self.deadline;
        if late { Err(HttpError::Timeout) } else { Ok(()) }
    }

    fn get(
        &self,
        more: &str,
        range: Option<Range<u64>>,
    ) -> Result<ureq::http::Response<ureq::Body>, HttpError> {
        self.check()?;
        let path = format!("/v1/blobs/{}{more}", self.wanted.hash);
        let shown = pass::write(&self.pass.signer, &self.pass.to, &path, now_ms());
        let mut request = ureq::get(format!("{}{path}", self.base)).header("authorization", shown);
        if let Some(range) = range {
            request = request.header("range", format!("bytes={}-{}", range.start, range.end - 1));
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        let request = request
            .config()
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(STALL))
            .timeout_per_read(Some(STALL))
            .timeout_global(Some(left))
            .build();
        request.call().map_err(|error| HttpError::Broken(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_followed() {
        let found = |url: &str, addrs: &[&str], local| {
            let addrs: Vec<String> = addrs.iter().map(|addr| (*addr).to_owned()).collect();
            reachable(url, &addrs, local).map(|address| address.to_string())
        };
        let check = |url: &str, addrs: &[&str], expected: Option<&str>| {
            assert_eq!(found(url, addrs, true).as_deref(), expected, "{url}");
        };
        let away = |url: &str, addrs: &[&str], expected: Option<&str>| {
            assert_eq!(found(url, addrs, false).as_deref(), expected, "{url} of another host");
        };
        away("http://127.0.0.1:80", &[], None);
        away("http://[::1]:80", &[], None);
        away("http://169.254.169.254:80", &[], None);
        away("http://192.0.2.1:8080/", &[], Some("192.0.2.1:8080"));
        away("http://0.0.0.0:80", &["/ip4/127.0.0.1/tcp/1", "/ip4/192.0.2.7/tcp/1"], Some("192.0.2.7:80"));
        away("http://0.0.0.0:80", &["/ip4/127.0.0.1/tcp/1"], None);
        let addr = "/ip4/192.0.2.7/tcp/4001/p2p/12D3";
        check("http://127.0.0.1:80", &[], Some("127.0.0.1:80"));
        check("http://192.0.2.1:8080/", &[], Some("192.0.2.1:8080"));
        check("http://[2001:db8::1]:8080", &[], Some("[2001:db8::1]:8080"));
        check("http://0.0.0.0:80", &[addr], Some("192.0.2.7:80"));
        check("http://0.0.0.0:80", &["/dns4/x/tcp/1"], None);
        check("http://0.0.0.0:80", &[], None);
        check("https://127.0.0.1:80", &[], None);
        check("http://example.com/x", &[], None);
        check("http://127.0.0.1:80@example.com", &[], None);
        check("", &[], None);
    }
}
