//! The operator's command.
//!
//! Invariant: the command is a program with arguments from the settings, never a line for a shell. It gets
//! everything as environment variables, it ends in time, and the length of its output is bounded.

use crate::api::autoscaler::{Advice, Recommendation};
use crate::process::listen;
use cluster_state::ClusterState;
use std::{io, process::Stdio, time::Duration};
use tokio::process::Command;

/// Longest run of the command; after that it is killed.
const WAIT: Duration = Duration::from_secs(60);
/// Most bytes of the command's output that are kept.
const OUTPUT_BYTES_MAX: usize = 4096;

/// Why the command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScalingOrderError {
    #[error("there is no command")]
    Nothing,
    #[error("it does not start or cannot be waited for: {0}")]
    Start(#[from] io::Error),
    #[error("it did not end within {WAIT:?}")]
    Timeout,
    #[error("it ended with {status}: {output}")]
    Status { status: std::process::ExitStatus, output: String },
}

/// What the command is to do, as it gets it in environment variables.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ScalingOrder(Vec<(&'static str, String)>);

impl ScalingOrder {
    pub(super) fn new(state: &ClusterState, recommendation: &Recommendation) -> Self {
        let (action, count, node) = match recommendation.advice {
            Advice::Up(count) => ("up", count, None),
            Advice::Down(id) => ("down", 1, state.nodes.get(&id)),
            Advice::Hold => ("hold", 0, None),
        };
        // Text from other nodes is passed on only without control characters: it must not end a variable
        // early or contain the end of a line.
        let plain = |text: &str| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
        Self(vec![
            ("RINGRIFT_ACTION", action.to_owned()),
            ("RINGRIFT_COUNT", count.to_string()),
            ("RINGRIFT_NODE", node.map(|node| format!("node-{}", node.id)).unwrap_or_default()),
            ("RINGRIFT_HOST", node.map(|node| plain(&node.name)).unwrap_or_default()),
            ("RINGRIFT_REASON", plain(&recommendation.reason)),
        ])
    }

    /// Runs the command and returns its output.
    pub(super) async fn carry_out(&self, command: &[String]) -> Result<String, ScalingOrderError> {
        self.within(command, WAIT).await
    }

    async fn within(&self, command: &[String], wait: Duration) -> Result<String, ScalingOrderError> {
        let (program, arguments) = command.split_first().ok_or(ScalingOrderError::Nothing)?;
        let mut child = Command::new(program)
            .args(arguments)
            .envs(self.0.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let ended = async {
            tokio::join!(listen(out, OUTPUT_BYTES_MAX), listen(err, OUTPUT_BYTES_MAX), child.wait())
        };
        let ended = tokio::time::timeout(wait, Box::pin(ended)).await;
        let (mut output, complaint, status) = ended.map_err(|_| ScalingOrderError::Timeout)?;
        output.extend(complaint);
        let output = String::from_utf8_lossy(&output).trim().to_owned();
        let status = status?;
        if status.success() { Ok(output) } else { Err(ScalingOrderError::Status { status, output }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;
    use cluster_state::NodeId;
    use std::time::Instant;

    fn order(advice: Advice) -> ScalingOrder {
        ScalingOrder::new(
            &World::with_nodes(3).state,
            &Recommendation { advice, reason: "many\nwait".into() },
        )
    }

    fn words(command: &[&str]) -> Vec<String> {
        command.iter().map(|word| (*word).to_owned()).collect()
    }

    #[tokio::test]
    async fn it_is_told_what_to_do_and_heard() {
        let print = words(&[
            "/bin/sh",
            "-c",
            "echo $RINGRIFT_ACTION $RINGRIFT_COUNT $RINGRIFT_NODE $RINGRIFT_HOST; \
                             echo \"$RINGRIFT_REASON\" >&2",
        ]);
        assert_eq!(
            order(Advice::Down(NodeId(2))).carry_out(&print).await.unwrap(),
            "down 1 node-2 host-2\nmanywait"
        );
        assert_eq!(order(Advice::Up(3)).carry_out(&print).await.unwrap(), "up 3\nmanywait");
    }

    #[tokio::test]
    async fn it_ends_in_time_and_says_only_so_much() {
        let many = words(&["/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"]);
        assert_eq!(order(Advice::Hold).carry_out(&many).await.unwrap().len(), OUTPUT_BYTES_MAX);
        let began = Instant::now();
        let late =
            order(Advice::Hold).within(&words(&["/bin/sleep", "600"]), Duration::from_millis(50)).await;
        assert!(matches!(late, Err(ScalingOrderError::Timeout)), "{late:?}");
        assert!(began.elapsed() < Duration::from_secs(30));
        let failed = order(Advice::Hold).carry_out(&words(&["/bin/sh", "-c", "echo no; exit 3"])).await;
        assert!(
            matches!(&failed, Err(ScalingOrderError::Status { output, .. }) if output == "no"),
            "{failed:?}"
        );
        let missing = order(Advice::Hold).carry_out(&words(&["/no/such/program; echo injected"])).await;
        assert!(matches!(missing, Err(ScalingOrderError::Start(_))), "{missing:?}");
        assert!(matches!(order(Advice::Hold).carry_out(&[]).await, Err(ScalingOrderError::Nothing)));
    }
}
