//! Debian packages: the extension, and beside it the names and lines that were stripped off its libraries.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Release, fresh_directory, stage, stage_documents, write};
use crate::project::Project;
use crate::{setup, shell};

const DESCRIPTION: &str = "customer lifetime value in PostgreSQL
 Builds features from raw orders, trains models of customer lifetime value
 in a background worker, keeps their versions as rows, and scores tables,
 segments and single customers by a plain function call in SQL.";

/// What lintian is told not to complain of, and why.
const OVERRIDES: &str =
    "# ONNX Runtime as its makers build it: the distribution has none, or one that is too old.
PACKAGE: embedded-library *
PACKAGE: custom-library-search-path *
";

pub fn packages(release: &Release) -> Result<Vec<PathBuf>> {
    let name = format!("postgresql-{}-pg-ltv", release.install.major);
    let package = Package::begin(release, &name)?;
    let prefix = package.directory.join("usr");
    let major = release.install.major.to_string();
    let libraries = stage(
        &release.built,
        &prefix.join("lib/postgresql").join(&major).join("lib"),
        &prefix
            .join("share/postgresql")
            .join(&major)
            .join("extension"),
    )?;
    let symbols = Package::begin(release, &format!("{name}-dbgsym"))?;
    let mut builds = Vec::new();
    for library in &libraries {
        builds.extend(move_symbols(library, &symbols.directory)?);
    }
    let document = prefix.join("share/doc").join(&name);
    stage_documents(release.project, &document)?;
    release.papers.put(&document)?;
    package.document(&copyright(release)?)?;
    let overrides = prefix.join("share/lintian/overrides").join(&name);
    write(&overrides, OVERRIDES.replace("PACKAGE", &name))?;
    let depends = format!(
        "postgresql-{major} (>= {}), {}",
        release.install.headers_release()?,
        shared_libraries(release, &libraries)?
    );
    let package = package.finish("database", &depends, "", DESCRIPTION)?;

    // Debian's way to say: the same papers.
    let papers = symbols.directory.join("usr/share/doc").join(&symbols.name);
    fs::create_dir_all(papers.parent().unwrap_or(&papers))?;
    symlink(&name, papers)?;
    let extra = format!(
        "Auto-Built-Package: debug-symbols\nBuild-Ids: {}\n",
        builds.join(" ")
    );
    let depends = format!("{name} (= {})", version(release));
    let description = format!("debug symbols for {name}\n Names and lines for traces of crashes.");
    Ok(vec![
        package,
        symbols.finish("debug", &depends, &extra, &description)?,
    ])
}

fn version(release: &Release) -> String {
    format!("{}-1", release.built.version)
}

/// Leaves the library without names, which go below `to`; returns the names of its build, if it has any.
fn move_symbols(library: &Path, to: &Path) -> Result<Option<String>> {
    let notes = shell::capture(Command::new("readelf").arg("--notes").arg(library))?;
    let build = notes
        .lines()
        .find_map(|line| line.trim().strip_prefix("Build ID: "));
    let sections = shell::capture(Command::new("readelf").args(["-S", "-W"]).arg(library))?;
    let mut kept = None;
    if let (Some(build), true) = (build, sections.contains(".symtab")) {
        let (head, tail) = build.split_at(2);
        let file = to.join(format!("usr/lib/debug/.build-id/{head}/{tail}.debug"));
        write(&file, "")?;
        shell::capture(
            Command::new("objcopy")
                .args(["--only-keep-debug", "--compress-debug-sections"])
                .arg(library)
                .arg(&file),
        )?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
        kept = Some(build.to_owned());
    }
    shell::capture(
        Command::new("strip")
            .args(["--strip-unneeded", "--remove-section=.comment"])
            .arg(library),
    )?;
    Ok(kept)
}

/// The packages that the libraries need, with versions.
fn shared_libraries(release: &Release, libraries: &[PathBuf]) -> Result<String> {
    setup::programs(&["dpkg-shlibdeps"])?;
    let place = release
        .output
        .join(format!("shlibdeps-{}", release.install.major));
    fresh_directory(&place)?;
    write(&place.join("debian/control"), "Source: pg-ltv\n")?;
    let found = shell::capture(
        Command::new("dpkg-shlibdeps")
            .args(["-O", "--warnings=0"])
            .args(libraries)
            .current_dir(&place),
    )?;
    fs::remove_dir_all(&place)?;
    let depends = found
        .lines()
        .find_map(|l| l.strip_prefix("shlibs:Depends="));
    Ok(depends
        .context("dpkg-shlibdeps named no packages")?
        .to_owned())
}

fn copyright(release: &Release) -> Result<String> {
    let licence = fs::read_to_string(release.project.root.join("LICENSE"))?;
    let paragraph: String = licence
        .lines()
        .skip_while(|line| !line.starts_with("Permission"))
        .map(|line| match line.trim() {
            "" => " .\n".to_owned(),
            line => format!(" {line}\n"),
        })
        .collect();
    let holder = licence
        .lines()
        .find_map(|line| line.strip_prefix("Copyright (c) "))
        .context("LICENSE names no holder")?;
    let mit = super::licences::MIT
        .lines()
        .skip_while(|line| !line.starts_with("Permission"))
        .map(|line| match line.trim() {
            "" => " .\n".to_owned(),
            line => format!(" {line}\n"),
        })
        .collect::<String>();
    Ok(format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: pg_ltv\n\
         Comment: The library holds code of the Rust crates and of the standard library of Rust\n \
         that the files in licences/ beside this one name, each with its licence.\n\n\
         Files: *\nCopyright: {holder}\nLicense: PostgreSQL\n{paragraph}\n\
         Files: usr/lib/postgresql/*/lib/pg_ltv/libonnxruntime.so\n\
         Copyright: Microsoft Corporation\nLicense: Expat\n{mit}\
         Comment: What it holds of others is in licences/onnxruntime/ThirdPartyNotices.txt.\n"
    ))
}

/// A package in the making.
struct Package<'a> {
    release: &'a Release<'a>,
    name: String,
    directory: PathBuf,
}

impl<'a> Package<'a> {
    fn begin(release: &'a Release<'a>, name: &str) -> Result<Package<'a>> {
        let directory = release.output.join(name);
        fresh_directory(&directory)?;
        Ok(Package {
            release,
            name: name.to_owned(),
            directory,
        })
    }

    /// What every package says of itself.
    fn document(&self, copyright: &str) -> Result<()> {
        let directory = self.directory.join("usr/share/doc").join(&self.name);
        write(&directory.join("copyright"), copyright)?;
        let log = fs::read(self.release.project.root.join("CHANGELOG.md"))?;
        write(&directory.join("changelog"), log)?;
        let day = Command::new("date")
            .args(["--utc", "--rfc-email", "--date"])
            .arg(format!("@{}", self.release.epoch))
            .env("LC_ALL", "C")
            .output()?;
        write(
            &directory.join("changelog.Debian"),
            format!(
                "pg-ltv ({}) unstable; urgency=medium\n\n  * Release {}: see changelog.gz.\n\n -- {}  {}\n",
                version(self.release),
                self.release.built.version,
                maintainer(self.release.project)?,
                String::from_utf8_lossy(&day.stdout).trim(),
            ),
        )?;
        for file in files_below(&directory)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let large = fs::metadata(&file)?.len() > 100_000 && !name.ends_with(".svg");
            if name.starts_with("changelog") || large {
                shell::capture(Command::new("gzip").args(["-9", "-n"]).arg(&file))?;
            }
        }
        Ok(())
    }

    fn finish(
        &self,
        section: &str,
        depends: &str,
        extra: &str,
        description: &str,
    ) -> Result<PathBuf> {
        let architecture = shell::capture(Command::new("dpkg").arg("--print-architecture"))?;
        let architecture = architecture.trim();
        let control = self.directory.join("DEBIAN");
        let mut sums = String::new();
        let mut bytes = 0;
        for file in files_below(&self.directory)? {
            let name = file.strip_prefix(&self.directory)?.display().to_string();
            let sum = shell::capture(Command::new("md5sum").arg("--binary").arg(&file))?;
            let sum = sum.split_whitespace().next().unwrap_or_default();
            sums.push_str(&format!("{sum}  {name}\n"));
            bytes += fs::metadata(&file)?.len();
        }
        write(&control.join("md5sums"), sums)?;
        write(
            &control.join("control"),
            format!(
                "Package: {}\nSource: pg-ltv\nVersion: {}\nArchitecture: {architecture}\nMaintainer: {}\n\
                 Installed-Size: {}\nDepends: {depends}\nSection: {section}\nPriority: optional\n{extra}\
                 Description: {description}\n",
                self.name,
                version(self.release),
                maintainer(self.release.project)?,
                bytes.div_ceil(1024),
            ),
        )?;
        let file = self.release.output.join(format!(
            "{}_{}_{architecture}.deb",
            self.name,
            version(self.release)
        ));
        shell::capture(
            Command::new("dpkg-deb")
                .args(["--root-owner-group", "-Zxz", "--build"])
                .arg(&self.directory)
                .arg(&file)
                .env("SOURCE_DATE_EPOCH", &self.release.epoch),
        )?;
        fs::remove_dir_all(&self.directory)?;
        Ok(file)
    }
}

/// As Debian's own tools ask for it; otherwise whoever made the commit that is packaged.
fn maintainer(project: &Project) -> Result<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(address) = variable("DEBEMAIL") {
        let name = variable("DEBFULLNAME").unwrap_or_else(|| "pg_ltv maintainers".into());
        return Ok(format!("{name} <{address}>"));
    }
    let committer = shell::capture(
        Command::new("git")
            .args(["log", "-1", "--format=%cn <%ce>"])
            .current_dir(&project.root),
    );
    let committer = committer.context("DEBFULLNAME and DEBEMAIL say who makes the package")?;
    Ok(committer.trim().to_owned())
}

/// Every file, by name; no links.
fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            } else if path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
