//! A run of a cell, in a process of its own, so that none finds what another left behind.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cell::Cell;
use crate::figures::Figures;

/// Runs this program for one run of `cell`, and reads what it prints.
pub fn measure(cell: Cell, run: u64, heap_prof: Option<&Path>) -> Result<Figures, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--measure", &cell.to_string(), "--run", &run.to_string()]);
    if let Some(path) = heap_prof {
        command.arg("--heap-prof").arg(path);
    }
    // Its settings are its own; a service's would change them.
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEAPWARD_")) {
        command.env_remove(variable);
    }
    command.env("HEAPWARD_PROFILES_DIR", "off");
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{cell}: its process ended with {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().map_err(|error| format!("{cell}: {error}").into())
}
