//! Flags of helpers: programs in any language as hooks.

use clap::Args;
use serde_json::{Value, json};

use super::send::duration;

/// The helpers of a job.
#[derive(Args)]
#[command(next_help_heading = "Helpers")]
pub struct HelperFlags {
    /// Helpers that process answers in place of --extract, such as 'python3 score.py': each reads a line of JSON for each answer, and writes a line of JSON back
    #[arg(long, value_name = "CMD")]
    process: Option<String>,
    /// Names of the values that --process gives; a name that ends in ? may be missing [default: those of each record]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    process_values: Option<Vec<String>>,
    /// --process may give several records for a row
    #[arg(long)]
    process_records: bool,
    /// Helpers that make the requests in place of --url, such as 'node sign.js': each reads a line of JSON for each row, and writes a line of JSON with its request back
    #[arg(long, value_name = "CMD")]
    render: Option<String>,
    /// Number of helpers of each command that work side by side [default: one for each core]
    #[arg(long, value_name = "N")]
    helpers: Option<u64>,
    /// Longest time that a helper takes for one line [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    helper_timeout: Option<String>,
    /// Maximum number of lines that a helper has at a time [default: 100]
    #[arg(long, value_name = "N")]
    helper_batch: Option<u64>,
    /// A variable of the environment that helpers get although it is a secret (repeat)
    #[arg(long, value_name = "NAME")]
    helper_env: Vec<String>,
}

impl HelperFlags {
    pub fn process_tree(&self) -> Value {
        let mut tree = self.tree(self.process.as_deref());
        tree["values"] = json!(self.process_values);
        tree["records"] = json!(self.process_records.then_some(true));
        tree
    }

    pub fn render_tree(&self) -> Value {
        self.tree(self.render.as_deref())
    }

    /// The settings that helpers of both kinds have.
    fn tree(&self, command: Option<&str>) -> Value {
        json!({
            "command": command,
            "helpers": self.helpers,
            "timeout": self.helper_timeout,
            "batch": self.helper_batch,
            "env": (!self.helper_env.is_empty()).then_some(&self.helper_env),
        })
    }
}
