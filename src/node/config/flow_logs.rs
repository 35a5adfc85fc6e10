//! `[flow_logs]`: where flow logs go.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;

use crate::flowlogs::Settings;

/// Where flow logs go, and how much is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowLogsConfig {
    /// The folder in which each log has one.
    pub folder: PathBuf,
    /// How long a file takes lines.
    pub rotate_seconds: u32,
    /// How many MiB, compressed, a file has before another is begun.
    pub rotate_megabytes: u32,
    /// How many MiB the complete files of all logs may have together.
    pub keep_megabytes: u32,
}

impl Default for FlowLogsConfig {
    /// Files as AWS's, of five minutes or 75 MB.
    fn default() -> Self {
        Self {
            folder: "/var/log/warren/flow-logs".into(),
            rotate_seconds: 300,
            rotate_megabytes: 75,
            keep_megabytes: 1024,
        }
    }
}

/// Flows that are held in memory: some 100 MB.
const FLOWS: usize = 1 << 20;

impl FlowLogsConfig {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, value) in
            [("rotate_seconds", self.rotate_seconds), ("rotate_megabytes", self.rotate_megabytes)]
        {
            if value == 0 {
                problems.push(format!("flow_logs.{key}: at least 1"));
            }
        }
        if self.keep_megabytes < self.rotate_megabytes {
            problems.push(format!(
                "flow_logs.keep_megabytes: at least rotate_megabytes ({}), or a complete file is removed at once",
                self.rotate_megabytes
            ));
        }
        problems
    }

    pub(super) fn relative_to(self, folder: &Path) -> Self {
        Self { folder: folder.join(self.folder), ..self }
    }

    /// The same for the writer of a host.
    pub fn settings(&self, host: &Arc<str>) -> Settings {
        Settings {
            host: Arc::clone(host),
            folder: self.folder.clone(),
            rotate: Duration::from_secs(self.rotate_seconds.into()),
            file_bytes: u64::from(self.rotate_megabytes) << 20,
            keep_bytes: u64::from(self.keep_megabytes) << 20,
            flows: FLOWS,
        }
    }
}
