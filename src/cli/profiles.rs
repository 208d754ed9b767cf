//! `throng profiles`: lists the known APIs, or shows one.

use crate::Error;
use crate::plan::Profile;
use clap::Args;

use super::exit::Exit;
use super::say;

#[derive(Args)]
#[group(skip)]
pub struct ProfilesArgs {
    /// The profile to show in full
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub fn main(arguments: &ProfilesArgs) -> Result<Exit, Error> {
    match &arguments.name {
        Some(name) => say::result(Profile::named(name)?.text().trim_end()),
        None => list(&Profile::all()?),
    }
    Ok(Exit::Ok)
}

fn list(profiles: &[Profile]) {
    let widest = |width: fn(&Profile) -> usize| profiles.iter().map(width).max().unwrap_or(0);
    let (name, title) = (widest(|it| it.name.len()), widest(|it| it.title.len()));
    for profile in profiles {
        let tiers: Vec<&str> = profile.tier.keys().map(String::as_str).collect();
        say::result(&format!(
            "{:<name$}  {:<title$}  tiers: {}",
            profile.name,
            profile.title,
            tiers.join(", ")
        ));
    }
}
