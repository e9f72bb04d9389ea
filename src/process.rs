//! The output of other programs.
//!
//! Invariant: what a program prints is read to the end, so that the program never waits for its reader, and
//! only a bounded part of it is kept.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads to the end and keeps at most the first `bytes_max` bytes.
pub(crate) async fn listen(pipe: Option<impl AsyncRead + Unpin>, bytes_max: usize) -> Vec<u8> {
    let (mut kept, mut part) = (Vec::new(), [0; 4096]);
    let Some(mut pipe) = pipe else { return kept };
    while let Ok(count @ 1..) = pipe.read(&mut part).await {
        let room = (bytes_max - kept.len()).min(count);
        kept.extend_from_slice(&part[..room]);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_is_read_and_the_beginning_is_kept() {
        let long = vec![7; 10_000];
        let mut pipe = long.as_slice();
        assert_eq!(listen(Some(&mut pipe), 5000).await, long[..5000]);
        assert!(pipe.is_empty());
        assert_eq!(listen(Some(&long[..]), 20_000).await, long);
        assert!(listen(None::<&[u8]>, 5).await.is_empty());
    }
}
