//! The companies in which stories play.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use callgate::service::generation::LoadedBundle;

use crate::scenarios::story::Scenario;
use crate::support::bundle_dir::{BundleDir, loaded};

/// A company, compiled.
#[derive(Clone)]
pub struct World {
    pub load: LoadedBundle,
    pub policies: Vec<String>,
}

static KNOWN: LazyLock<Mutex<HashMap<(String, String), World>>> = LazyLock::new(Mutex::default);

/// The company of a scenario.
pub fn of(scenario: &Scenario) -> Result<World, String> {
    let name = scenario.world.clone().unwrap_or_else(|| "office".into());
    let more = scenario.policies.clone().unwrap_or_default();
    let mut known = KNOWN.lock().expect("worlds");
    if let Some(world) = known.get(&(name.clone(), more.clone())) {
        return Ok(world.clone());
    }
    let place = match name.as_str() {
        "office" => "tests/it/scenarios/world",
        "shipped" => "policies",
        other => {
            return Err(format!(
                "`{other}` is no world: it is `office` or `shipped`"
            ));
        }
    };
    let dir = BundleDir::copy_of(place).file("of_this_scenario.cedar", more.clone());
    let bundle = dir.compile().map_err(|faults| faults.to_string())?;
    let world = World {
        policies: bundle.policies.iter().map(|it| it.id.to_string()).collect(),
        load: loaded(bundle),
    };
    known.insert((name, more), world.clone());
    Ok(world)
}
