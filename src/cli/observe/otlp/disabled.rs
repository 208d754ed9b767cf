//! Stands for OpenTelemetry in builds without the feature `otlp`.

use crate::Error;
use crate::engine::Run;
use crate::events::Subscription;

/// Never made.
pub struct Exports;

impl Exports {
    /// # Errors
    /// Always: this build lacks OpenTelemetry.
    pub fn start(_: &Run) -> Result<Exports, Error> {
        Err(Error::plan(
            "this build of throng lacks OpenTelemetry (--otlp): build it with --features otlp; --metrics serves the metrics to Prometheus",
        ))
    }

    /// Sends nothing.
    pub fn write(self, _: Subscription) {}
}
