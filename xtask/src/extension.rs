//! Building the extension and putting it into a PostgreSQL installation.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::postgres_install::Install;
use crate::project::Project;
use crate::{cargo, cuda, onnxruntime, shell};

/// What an installation consists of.
pub struct Built {
    pub library: PathBuf,
    pub control: PathBuf,
    pub version: String,
    pub script: String,
    pub upgrades: Vec<PathBuf>,
    pub onnxruntime: PathBuf,
    /// The library that trains on GPUs, and what it needs; see [`Built::with_cuda`].
    cuda: Vec<(String, PathBuf)>,
}

pub fn build(project: &Project, install: &Install) -> Result<Built> {
    let onnxruntime = onnxruntime::library(project)?;
    let library = compile(project, install)?;
    let (version, script) = script(project)?;
    Ok(Built {
        library,
        control: project.root.join("sql/pg_ltv.control"),
        version,
        script,
        upgrades: upgrades(project)?,
        onnxruntime,
        cuda: Vec::new(),
    })
}

/// Compile for this installation's major version; returns the shared library's path.
fn compile(project: &Project, install: &Install) -> Result<PathBuf> {
    cargo::shared_library(&cargo::artifacts(project, install, &[])?, "pg_ltv")
}

/// The version in the control file and the whole installation script.
pub fn script(project: &Project) -> Result<(String, String)> {
    let sql = project.root.join("sql");
    let control =
        fs::read_to_string(sql.join("pg_ltv.control")).context("cannot read sql/pg_ltv.control")?;
    let version = control
        .lines()
        .find_map(|line| line.trim().strip_prefix("default_version"))
        .map(|rest| {
            rest.trim_matches([' ', '=', '\''].as_slice())
                .trim()
                .to_string()
        })
        .context("sql/pg_ltv.control has no default_version")?;
    let mut script =
        String::from("\\echo Use \"CREATE EXTENSION pg_ltv\" to load this file. \\quit\n");
    for part in sql_files(&sql)?.iter().filter(|path| is_part(path)) {
        let text = fs::read_to_string(part)?;
        script.push('\n');
        script.push_str(text.trim_end());
        script.push('\n');
    }
    Ok((version, script))
}

/// `NN_topic.sql`
fn is_part(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let digits = name.chars().take_while(char::is_ascii_digit).count();
    digits > 0 && name[digits..].starts_with('_')
}

/// Each `pg_ltv--A--B.sql`: a step from version A to B.
pub fn upgrades(project: &Project) -> Result<Vec<PathBuf>> {
    let mut files = sql_files(&project.root.join("sql"))?;
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("pg_ltv--")
    });
    Ok(files)
}

fn sql_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl Built {
    /// With the library that trains on GPUs, if `cargo xtask build-cuda` made one; `runtime`: and with those libraries of
    /// CUDA that were fetched for it.
    pub fn with_cuda(mut self, project: &Project, runtime: bool) -> Result<Built> {
        let Some(library) = cuda::built(project, &self.library, &self.version)? else {
            return Ok(self);
        };
        self.cuda.push((cuda::FILE_NAME.to_owned(), library));
        for path in cuda::runtime(project).into_iter().filter(|_| runtime) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            self.cuda.push((format!("cuda/{name}"), path));
        }
        Ok(self)
    }

    pub fn has_cuda(&self) -> bool {
        !self.cuda.is_empty()
    }

    /// Without the lines of the sources, which are three quarters of the library. Traces of crashes keep their names.
    pub fn without_debug_lines(mut self, project: &Project) -> Result<Built> {
        let copy = project.root.join("target/stripped").join("libpg_ltv.so");
        Content::File(&self.library).put(&copy)?;
        strip_debug_lines(&copy)?;
        self.library = copy;
        Ok(self)
    }

    /// Put everything into `install`, each file replaced at once so that running servers keep what they have open.
    pub fn install_into(&self, install: &Install) -> Result<()> {
        for (target, content) in self.layout() {
            let directory = match target {
                Target::Library(name) => install.lib.join(name),
                Target::Extension(name) => install.share.join("extension").join(name),
            };
            content.put(&directory)?;
        }
        Ok(())
    }

    /// What goes where.
    pub fn layout(&self) -> Vec<(Target, Content<'_>)> {
        let library = format!("pg_ltv{}", std::env::consts::DLL_SUFFIX);
        let script = format!("pg_ltv--{}.sql", self.version);
        let mut files = vec![
            (Target::Library(library), Content::File(&self.library)),
            (
                Target::Library(format!("pg_ltv/{}", onnxruntime::FILE_NAME)),
                Content::File(&self.onnxruntime),
            ),
            (
                Target::Extension("pg_ltv.control".into()),
                Content::File(&self.control),
            ),
            (Target::Extension(script), Content::Text(&self.script)),
        ];
        for (name, path) in &self.cuda {
            let target = Target::Library(format!("pg_ltv/{name}"));
            files.push((target, Content::File(path)));
        }
        for upgrade in &self.upgrades {
            let name = upgrade.file_name().unwrap_or_default().to_string_lossy();
            files.push((Target::Extension(name.into_owned()), Content::File(upgrade)));
        }
        files
    }
}

/// Take out of an installation what [`Built::install_into`] puts there, of whatever version; returns what it was.
pub fn remove_from(install: &Install) -> Result<Vec<PathBuf>> {
    remove([&install.lib, &install.share.join("extension")])
}

fn remove(directories: [&Path; 2]) -> Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for directory in directories {
        for entry in fs::read_dir(directory)
            .with_context(|| format!("cannot read {}", directory.display()))?
        {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let ours = ["pg_ltv", "pg_ltv.control", "pg_ltv.so"].contains(&name.as_ref())
                || name.starts_with("pg_ltv--");
            if ours && path.is_dir() {
                fs::remove_dir_all(&path)?;
            } else if ours {
                fs::remove_file(&path)?;
            } else {
                continue;
            }
            removed.push(path);
        }
    }
    removed.sort();
    Ok(removed)
}

pub fn strip_debug_lines(library: &Path) -> Result<()> {
    if shell::on_path("strip").is_some() {
        shell::capture(Command::new("strip").arg("--strip-debug").arg(library))?;
    }
    Ok(())
}

/// A path below the library or the extension directory of an installation.
pub enum Target {
    Library(String),
    Extension(String),
}

pub enum Content<'a> {
    File(&'a Path),
    Text(&'a str),
}

impl Content<'_> {
    pub fn put(&self, path: &Path) -> Result<()> {
        let parent = path.parent().context("a file needs a directory")?;
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        let bytes = match self {
            Content::File(source) => {
                fs::read(source).with_context(|| format!("cannot read {}", source.display()))?
            }
            Content::Text(text) => text.as_bytes().to_vec(),
        };
        if fs::read(path).is_ok_and(|present| present == bytes) {
            return Ok(());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = parent.join(format!(".{name}.{}", std::process::id()));
        fs::write(&temporary, bytes)
            .and_then(|()| fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644)))
            .and_then(|()| fs::rename(&temporary, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn only_what_is_ours_is_removed() {
        let root = std::env::temp_dir().join(format!("pg_ltv.remove.{}", std::process::id()));
        let (lib, extension) = (root.join("lib"), root.join("extension"));
        let ours = [
            lib.join("pg_ltv.so"),
            lib.join("pg_ltv"),
            extension.join("pg_ltv.control"),
            extension.join("pg_ltv--0.1.0--0.2.0.sql"),
            extension.join("pg_ltv--0.2.0.sql"),
        ];
        let others = [
            lib.join("pg_ltv_other.so"),
            lib.join("postgis-3.so"),
            extension.join("pg_ltv_other--1.sql"),
            extension.join("postgis.control"),
        ];
        fs::create_dir_all(&extension).unwrap();
        fs::create_dir_all(lib.join("pg_ltv/cuda")).unwrap();
        for path in ours.iter().chain(&others).filter(|path| !path.is_dir()) {
            fs::write(path, "").unwrap();
        }
        let mut removed = super::remove([&lib, &extension]).unwrap();
        let mut wanted = ours.to_vec();
        removed.sort();
        wanted.sort();
        assert_eq!(removed, wanted);
        assert!(ours.iter().all(|path| !path.exists()));
        assert!(others.iter().all(|path| path.exists()));
        fs::remove_dir_all(&root).unwrap();
    }
}
