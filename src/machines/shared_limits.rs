//! Which limits workers share: all that can be leased from a store. Pure.

use crate::error::Error;
use crate::plan::Plan;

/// Checks that workers can share the limits of a plan.
///
/// # Errors
/// Which limit they can't share.
pub fn check_plan(plan: &Plan) -> Result<(), Error> {
    for stage in plan.limited_stages() {
        let rules = stage.policy.rules();
        if let Some(rule) = rules.iter().find(|rule| rule.quota().is_none()) {
            return Err(Error::plan(format!(
                "the limit {} counts in one process, and workers on other machines are several: leave it out",
                rule.name
            )));
        }
        if !rules.is_empty() && !stage.shares() {
            return Err(Error::plan(
                "the limits are one run's alone (limit.sharing), and workers on other machines are several: leave it out",
            ));
        }
    }
    Ok(())
}
