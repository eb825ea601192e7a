//! The versions of the extension that upgrades start from, in `tests/upgrade/VERSION`: the script that installs each, and a
//! dump of a database with a trained model and what it predicted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::project::Project;
use crate::{extension, shell};

const SUMS: &str = "SHA256SUMS";
const SCRIPT: &str = "install.sql.gz";
const DUMP: &str = "dump.sql.gz";

/// The role that may use the model of a dump.
pub const READER: &str = "frozen_reader";

pub struct Frozen {
    pub version: String,
    directory: PathBuf,
}

fn home(project: &Project) -> PathBuf {
    project.root.join("tests/upgrade")
}

/// The list of what an extension consists of, to be compared.
pub fn catalog(project: &Project, cluster: &Cluster, database: &str) -> Result<String> {
    let query = fs::read_to_string(home(project).join("catalog.sql"))?;
    cluster.psql(database, &query)
}

impl Frozen {
    /// The oldest first.
    pub fn all(project: &Project) -> Result<Vec<Frozen>> {
        let mut all: Vec<Frozen> = fs::read_dir(home(project))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .map(|directory| Frozen {
                version: directory
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default(),
                directory,
            })
            .collect();
        all.sort_by_key(|each| numbers(&each.version));
        Ok(all)
    }

    fn new(project: &Project, version: &str) -> Frozen {
        Frozen {
            version: version.to_owned(),
            directory: home(project).join(version),
        }
    }

    pub fn script(&self) -> Result<String> {
        self.read(SCRIPT)
    }

    fn read(&self, name: &str) -> Result<String> {
        shell::capture(
            Command::new("gzip")
                .arg("-dc")
                .arg(self.directory.join(name)),
        )
    }

    pub fn restore(&self, cluster: &Cluster, database: &str) -> Result<()> {
        let text = self.read(DUMP)?;
        let file = std::env::temp_dir().join(format!("pg_ltv.{}.{database}", std::process::id()));
        fs::write(&file, text)?;
        let mut psql = cluster.psql_command(database);
        psql.args(["--set=ON_ERROR_STOP=1", "--quiet", "--file"])
            .arg(&file);
        let restored = shell::capture(&mut psql);
        fs::remove_file(&file)?;
        restored.map(drop)
    }
}

/// `0.10.0` comes after `0.9.0`.
fn numbers(version: &str) -> Vec<u32> {
    let parts = version.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

/// Whether the changelog says so: released versions never change.
pub fn is_released(project: &Project, version: &str) -> Result<bool> {
    let log = fs::read_to_string(project.root.join("CHANGELOG.md"))?;
    let heading = log
        .lines()
        .find(|line| line.split_whitespace().take(2).eq(["##", version]))
        .with_context(|| format!("CHANGELOG.md has no heading `## {version}`"))?;
    Ok(!heading.contains("unreleased"))
}

/// Keep the present version: its script, and a dump of this database.
pub fn keep(project: &Project, cluster: &Cluster, database: &str) -> Result<PathBuf> {
    let (version, script) = extension::script(project)?;
    let frozen = Frozen::new(project, &version);
    if frozen.directory.exists() && is_released(project, &version)? {
        bail!("{version} is released, and does not change any more");
    }
    fs::create_dir_all(&frozen.directory)?;
    let mut dump = cluster.client_program("pg_dump", database);
    for (name, text) in [(SCRIPT, script), (DUMP, shell::capture(&mut dump)?)] {
        let path = frozen.directory.join(name);
        let plain = path.with_extension("");
        fs::write(&plain, text)?;
        shell::capture(Command::new("gzip").args(["-9", "-n", "-f"]).arg(&plain))?;
    }
    let mut sums: Vec<String> = fs::read_to_string(home(project).join(SUMS))
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.contains(&format!("  {version}/")))
        .map(str::to_owned)
        .collect();
    let new = shell::capture(
        Command::new("sha256sum")
            .args([SCRIPT, DUMP].map(|name| format!("{version}/{name}")))
            .current_dir(home(project)),
    )?;
    sums.extend(new.lines().map(str::to_owned));
    fs::write(home(project).join(SUMS), sums.join("\n") + "\n")?;
    Ok(frozen.directory)
}

/// `rust/release`: one version everywhere; what was frozen is as it was, and steps lead from it to the present.
pub fn check(project: &Project) -> Result<()> {
    let (version, script) = extension::script(project)?;
    let read = |name: &str| {
        fs::read_to_string(project.root.join(name)).with_context(|| format!("cannot read {name}"))
    };
    let meta: serde_json::Value = serde_json::from_str(&read("META.json")?)?;
    let provided = &meta["provides"]["pg_ltv"];
    for (file, found) in [
        ("Cargo.toml", env!("CARGO_PKG_VERSION")),
        ("META.json", meta["version"].as_str().unwrap_or_default()),
        (
            "META.json, provides,",
            provided["version"].as_str().unwrap_or_default(),
        ),
    ] {
        if found != version {
            bail!("{file} has version {found}, sql/pg_ltv.control {version}");
        }
    }
    for key in ["file", "docfile"] {
        read(provided[key].as_str().unwrap_or(key)).context("META.json names it")?;
    }
    if let Some(validator) = shell::on_path("pgxn_meta") {
        shell::capture(Command::new(validator).arg(project.root.join("META.json")))?;
    }
    shell::capture(
        Command::new("sha256sum")
            .args(["--check", "--quiet", SUMS])
            .current_dir(home(project)),
    )
    .context("a frozen version has changed")?;
    let released = is_released(project, &version)?;
    for frozen in Frozen::all(project)? {
        if frozen.version != version {
            if !leads(&steps(project)?, &frozen.version, &version) {
                bail!(
                    "no sql/pg_ltv--{}--{version}.sql, nor steps that lead there; docs/development.md says how to write one",
                    frozen.version
                );
            }
        } else if released && frozen.script()? != script {
            bail!(
                "sql/ has changed since {version} was released: it needs a new version and a step to it"
            );
        }
    }
    Ok(())
}

/// `A`, `B` of each sql/pg_ltv--A--B.sql.
fn steps(project: &Project) -> Result<Vec<(String, String)>> {
    Ok(extension::upgrades(project)?
        .iter()
        .filter_map(|path| step(path))
        .collect())
}

fn step(path: &Path) -> Option<(String, String)> {
    let stem = path.file_stem()?.to_string_lossy();
    let (from, to) = stem.strip_prefix("pg_ltv--")?.split_once("--")?;
    Some((from.to_owned(), to.to_owned()))
}

fn leads(steps: &[(String, String)], from: &str, to: &str) -> bool {
    from == to
        || steps
            .iter()
            .filter(|(start, end)| start == from && numbers(end) > numbers(start))
            .any(|(_, end)| leads(steps, end, to))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn steps_lead_from_one_version_to_another() {
        let steps: Vec<_> = [
            "sql/pg_ltv--0.2.0--0.9.0.sql",
            "sql/pg_ltv--0.9.0--0.10.0.sql",
        ]
        .iter()
        .filter_map(|name| super::step(Path::new(name)))
        .collect();
        assert!(super::leads(&steps, "0.2.0", "0.10.0"));
        assert!(!super::leads(&steps, "0.10.0", "0.2.0"));
        assert!(!super::leads(&steps, "0.2.0", "1.0.0"));
    }
}
