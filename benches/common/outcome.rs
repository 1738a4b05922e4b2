//! What a child says that runs to its end.

use std::io::BufRead;
use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;

use crate::common::Result;

/// Runs a child, and reads the lines that it printed.
pub fn outcome<T: DeserializeOwned>(mut child: Command) -> Result<Vec<T>> {
    let output = child.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{child:?}: {}", output.status).into());
    }
    output
        .stdout
        .lines()
        .map(|line| {
            let line = line?;
            serde_json::from_str(&line).map_err(|error| format!("{child:?} printed `{line}`: {error}").into())
        })
        .collect()
}
