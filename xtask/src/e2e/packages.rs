//! What `cargo xtask package` makes: lawful, tidy, and enough for a machine that has nothing else.
//!
//! Makes the packages anew and fetches a whole system; so it runs only when it is named, and as root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::images::Images;
use super::{ensure_eq, with_major};
use crate::postgres_install::Install;
use crate::workspace::Workspace;
use crate::{apt, package, project, releases, setup, shell};

/// A suite whose own PostgreSQL is of that major version: the package is tried in it.
struct System {
    major: u32,
    distribution: &'static str,
    suite: &'static str,
}

const SYSTEMS: &[System] = &[
    System::new(15, "Debian", "bookworm"),
    System::new(16, "Ubuntu", "noble"),
    System::new(17, "Debian", "trixie"),
    System::new(18, "Debian", "forky"),
];

/// Where debootstrap is older than the suite, it goes by the script for all suites of the distribution.
fn script(distribution: &str) -> &'static str {
    match distribution {
        "Ubuntu" => "gutsy",
        _ => "sid",
    }
}

impl System {
    const fn new(major: u32, distribution: &'static str, suite: &'static str) -> System {
        System {
            major,
            distribution,
            suite,
        }
    }

    fn is_of_this_machine(&self) -> Result<bool> {
        Ok(apt::distribution()? == self.distribution)
    }

    /// Whether it can be had here: Debian has the keys of Ubuntu, not the other way round.
    fn can_be_fetched(&self) -> Result<bool> {
        Ok(self.is_of_this_machine()? || apt::distribution()? == "Debian")
    }

    /// Fetched into that directory, with its updates in sources.list: the newest minor release is there.
    fn fetch(&self, workspace: &Workspace, root: &Path) -> Result<()> {
        shell::step(format!(
            "Fetching a bare {} ({})",
            self.suite, self.distribution
        ));
        let mut command = Command::new("debootstrap");
        command.arg("--variant=minbase");
        if !self.is_of_this_machine()? {
            let keys = apt::unpacked(&workspace.shared, "trixie", "ubuntu-keyring")?;
            command
                .arg("--keyring")
                .arg(keys.join("usr/share/keyrings/ubuntu-archive-keyring.gpg"));
        }
        // From debootstrap's own mirror.
        command.arg(self.suite).arg(root).arg("");
        if !Path::new("/usr/share/debootstrap/scripts")
            .join(self.suite)
            .is_file()
        {
            command.arg(script(self.distribution));
        }
        shell::capture(&mut command)?;
        let sources = root.join("etc/apt/sources.list");
        let mut lines = fs::read_to_string(&sources)?;
        let updates = match self.is_of_this_machine()? {
            true => apt::sources(self.suite)?,
            false => ["updates", "security"]
                .iter()
                .map(|part| lines.replace(self.suite, &format!("{}-{part}", self.suite)))
                .collect(),
        };
        lines.push_str(&(updates.join("\n") + "\n"));
        fs::write(&sources, lines)?;
        // Lists of a suite that is not released yet are good for a week, and a mirror may lag by more.
        let lagging = root.join("etc/apt/apt.conf.d/90lagging");
        fs::write(&lagging, "Acquire::Check-Valid-Until \"false\";\n")?;
        Ok(())
    }
}

/// From orders to a ranking in five statements.
const RANKING: &str = include_str!("../../../packaging/ranking.sql");
const TRY: &str = include_str!("../../../packaging/try");

pub fn packages(workspace: &Workspace) -> Result<()> {
    ensure!(project::is_root(), "packages are tried by root only");
    setup::programs(&["dpkg-shlibdeps", "lintian", "debootstrap", "rpmbuild"])?;
    let major = with_major(workspace)?.unwrap_or(workspace.install.major);
    let pg_config = releases::headers(&workspace.shared, major)?;
    let install = Install::from_pg_config(&pg_config)?;
    let made = package::package(&workspace.shared, Some(&pg_config))?;
    let find = |part: &str| -> Result<&PathBuf> {
        let mut paths = made.iter();
        let found = paths.find(|path| path.to_string_lossy().contains(part));
        found.with_context(|| format!("no package has {part} in its name"))
    };
    let package = find("pg-ltv_")?;
    for path in [package, find("dbgsym")?] {
        shell::capture(
            Command::new("lintian")
                .args(["--fail-on", "error"])
                .arg(path),
        )?;
    }
    let inside = shell::capture(
        Command::new("rpm")
            .args(["--query", "--list", "--requires", "--package"])
            .arg(find(".rpm")?),
    )?;
    for line in [
        format!("/usr/pgsql-{major}/lib/pg_ltv.so"),
        format!("/usr/pgsql-{major}/lib/pg_ltv/libonnxruntime.so"),
        format!("/usr/pgsql-{major}/share/extension/pg_ltv.control"),
        format!("postgresql{major}-server >= {}", install.headers_release()?),
    ] {
        ensure!(
            inside.lines().any(|found| found == line),
            "the rpm has no {line}"
        );
    }
    of_the_archive(workspace, major, find(".tar.gz")?)?;
    for system in SYSTEMS.iter().filter(|system| system.major == major) {
        if system.can_be_fetched()? {
            in_a_bare_system(workspace, system, package)?;
        } else {
            shell::say(format!(
                "{} cannot be had on this machine: not tried there",
                system.suite
            ));
        }
    }
    Ok(())
}

/// The papers are there; where PostgreSQL can, it takes the extension from where it was unpacked.
fn of_the_archive(workspace: &Workspace, major: u32, archive: &Path) -> Result<()> {
    let place = workspace.new_directory("archive");
    fs::create_dir_all(&place)?;
    shell::capture(
        Command::new("tar")
            .args(["--extract", "--strip-components=1", "--file"])
            .arg(archive)
            .arg("--directory")
            .arg(&place),
    )?;
    for (paper, words) in [
        ("LICENSE", "PostgreSQL License"),
        ("licences/LICENSE-crates.txt", "Apache License"),
        ("licences/COPYRIGHT-rust.html", "Copyright"),
        ("licences/onnxruntime/LICENSE", "Microsoft"),
        ("licences/onnxruntime/ThirdPartyNotices.txt", "protobuf"),
        ("pg_ltv.cdx.json", "pkg:cargo/pgrx@"),
    ] {
        let text = fs::read_to_string(place.join(paper)).with_context(|| paper.to_owned())?;
        ensure!(text.contains(words), "{paper} does not say {words}");
    }
    if major < 18 || major != workspace.install.major {
        return Ok(());
    }
    let extension = workspace.install.share.join("extension");
    let hidden = [
        extension.join("pg_ltv.control"),
        workspace.install.lib.join("pg_ltv.so"),
    ];
    let aside = |path: &Path| path.with_extension("aside");
    for path in &hidden {
        fs::rename(path, aside(path))?;
    }
    let found = from_elsewhere(workspace, &place);
    for path in &hidden {
        fs::rename(aside(path), path)?;
    }
    found
}

fn from_elsewhere(workspace: &Workspace, place: &Path) -> Result<()> {
    let share = format!("$system:{}", place.join("share").display());
    let lib = format!("$libdir:{}", place.join("lib").display());
    let cluster = workspace.new_cluster(
        "elsewhere",
        &[
            ("extension_control_path", &share),
            ("dynamic_library_path", &lib),
        ],
    )?;
    let file = workspace.new_directory("ranking.sql");
    fs::write(&file, RANKING)?;
    let mut psql = cluster.psql_command("ltv");
    psql.args([
        "--no-align",
        "--tuples-only",
        "--set=ON_ERROR_STOP=1",
        "--file",
    ]);
    let said = shell::capture(psql.arg(&file))?;
    ensure_eq(said.lines().last(), Some("ranked 10"), "the ranking")?;
    cluster.destroy();
    Ok(())
}

fn in_a_bare_system(workspace: &Workspace, system: &System, package: &Path) -> Result<()> {
    let root = workspace.new_directory(system.suite);
    system.fetch(workspace, &root)?;
    fs::copy(package, root.join("tmp/pg_ltv.deb"))?;
    fs::write(root.join("tmp/ranking.sql"), RANKING)?;
    fs::write(root.join("tmp/try"), TRY)?;
    // Mounts of its own, which go when it ends.
    let said = shell::capture(
        Command::new("unshare")
            .args(["--mount", "sh", "-c"])
            .arg(
                "mount -t proc proc \"$0/proc\" && mkdir -p \"$0/dev/shm\" && mount -t tmpfs tmpfs \"$0/dev/shm\" \
                 && exec chroot \"$0\" sh /tmp/try \"$1\" /tmp/pg_ltv.deb",
            )
            .arg(&root)
            .arg(system.major.to_string()),
    )?;
    ranked(&said, system.suite)?;
    match Images::begin(workspace) {
        Some(images) => in_images(&images, system.major, &root)?,
        None => shell::say("buildah is not installed: no images are made"),
    }
    fs::remove_dir_all(&root)?;
    Ok(())
}

fn ranked(said: &str, place: &str) -> Result<()> {
    let found = said.lines().any(|line| line == "ranked 10");
    ensure!(found, "no ranking in {place}:\n{said}");
    Ok(())
}

/// The system has PostgreSQL by now, and no pg_ltv any more: as the images that ours are made on.
fn in_images(images: &Images, major: u32, root: &Path) -> Result<()> {
    shell::step("Making the images");
    images.import(root, "localhost/base")?;
    images.build("Dockerfile", "localhost/base", major, "localhost/pg_ltv")?;
    ranked(&images.try_in("localhost/pg_ltv", major)?, "the image")?;
    let volume = "localhost/pg_ltv-volume";
    images.build("Dockerfile.volume", "localhost/base", major, volume)?;
    images.check_volume(volume)
}
