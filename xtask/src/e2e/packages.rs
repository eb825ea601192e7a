//! What `cargo xtask package` makes: lawful, tidy, and enough for a machine that has nothing else.
//!
//! Makes the packages anew and fetches a whole system; so it runs only when it is named, and as root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::{ensure_eq, with_major};
use crate::postgres_install::Install;
use crate::workspace::Workspace;
use crate::{apt, package, project, releases, setup, shell};

/// The distributions whose own PostgreSQL this is: the package is tried in those that debootstrap knows.
const SYSTEMS: &[(u32, &str)] = &[(15, "bookworm"), (16, "noble"), (17, "trixie")];

/// From orders to a ranking in five statements, by an ordinary role.
const RANKING: &str = "
    create table orders as select n % 200 as customer_id, date '2024-01-01' + n * 7919 % 365 as ordered_at, 1 + n % 23 as amount
        from generate_series(1, 3000) n;
    select ltv_create_features('f', 'orders', date_column => 'ordered_at', value_column => 'amount', as_of => '2024-06-30', horizon => 90);
    select ltv_train('m', 'f', options => '{\"epochs\": 2, \"ensemble\": 1}');
    select ltv_wait(max(job)) from ltv_jobs;
    select count(*) > 0 from ltv_evaluate('m');
    select 'ranked ' || count(*) from (select customer_id, ltv_predict('m', f) as ltv from f order by ltv desc limit 10) r where ltv >= 0;";

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
    for (_, suite) in SYSTEMS.iter().filter(|(its, _)| *its == major) {
        if Path::new("/usr/share/debootstrap/scripts")
            .join(suite)
            .exists()
        {
            in_a_bare_system(workspace, major, suite, package)?;
        } else {
            shell::say(format!(
                "debootstrap does not know {suite}: not tried there"
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

fn in_a_bare_system(workspace: &Workspace, major: u32, suite: &str, package: &Path) -> Result<()> {
    let root = workspace.new_directory(suite);
    shell::step(format!("Fetching a bare {suite}"));
    shell::capture(
        Command::new("debootstrap")
            .args(["--variant=minbase", suite])
            .arg(&root),
    )?;
    let sources = root.join("etc/apt/sources.list");
    // With its updates: the newest minor release is there.
    let lines = fs::read_to_string(&sources)? + &apt::sources(suite)?.join("\n") + "\n";
    fs::write(&sources, lines)?;
    fs::copy(package, root.join("tmp/pg_ltv.deb"))?;
    fs::write(root.join("tmp/ranking.sql"), RANKING)?;
    fs::write(
        root.join("tmp/try"),
        format!(
            "set -e\n\
             export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8\n\
             echo 'exit 101' > /usr/sbin/policy-rc.d && chmod a+x /usr/sbin/policy-rc.d\n\
             apt-get update && apt-get install --yes --no-install-recommends /tmp/pg_ltv.deb\n\
             test -s /usr/share/doc/postgresql-{major}-pg-ltv/copyright\n\
             pg_ctlcluster {major} main start\n\
             trap 'pg_ctlcluster {major} main stop --mode immediate' EXIT\n\
             psql() {{ su postgres -c \"psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 $*\"; }}\n\
             psql -c \"'create extension pg_ltv'\"\n\
             psql -f /tmp/ranking.sql\n\
             apt-get remove --yes postgresql-{major}-pg-ltv\n\
             test ! -e /usr/lib/postgresql/{major}/lib/pg_ltv.so\n\
             psql -c \"'drop extension pg_ltv cascade'\"\n"
        ),
    )?;
    // Mounts of its own, which go when it ends.
    let said = shell::capture(
        Command::new("unshare")
            .args(["--mount", "sh", "-c"])
            .arg(
                "mount -t proc proc \"$0/proc\" && mkdir -p \"$0/dev/shm\" && mount -t tmpfs tmpfs \"$0/dev/shm\" \
                 && exec chroot \"$0\" sh /tmp/try",
            )
            .arg(&root),
    )?;
    if !said.lines().any(|line| line == "ranked 10") {
        bail!("no ranking in {suite}:\n{said}");
    }
    fs::remove_dir_all(&root)?;
    Ok(())
}
