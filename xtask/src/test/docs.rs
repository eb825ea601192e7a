//! Every ```sql block of README.md and docs/ is run, in order, each file in its own database.
//!
//! Hidden marks, each an HTML comment on a line of its own: `<!-- database: cdnow -->` starts over in a new database
//! (empty, extension, cdnow, or demo, which is what a file begins with); directly before a block, `<!-- no-run: why -->`
//! leaves it out and `<!-- fails: part of the message -->` says that it must fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};

use super::report::Outcome;
use super::sql::interleaved;
use crate::reference;
use crate::workspace::{Template, Workspace};

const MARK: &str = "@@ block ";

#[derive(Debug, PartialEq)]
struct Block {
    line: usize,
    text: String,
    fails: Option<String>,
}

#[derive(Debug)]
struct Part {
    template: Template,
    blocks: Vec<Block>,
}

/// The pages with sql blocks.
pub fn pages(root: &Path) -> Vec<PathBuf> {
    let mut pages = all_pages(root);
    pages.retain(|page| fs::read_to_string(page).is_ok_and(|text| text.contains("```sql")));
    pages
}

/// The README and every page of docs/.
pub fn all_pages(root: &Path) -> Vec<PathBuf> {
    let mut pages = vec![root.join("README.md")];
    let mut directories = vec![root.join("docs")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    let texts = root.join(reference::TEXTS);
    pages.retain(|page| !page.starts_with(&texts));
    pages.sort();
    pages
}

/// The outcome of each block, by its line.
pub fn run(workspace: &Workspace, page: &Path) -> Result<Vec<(usize, Outcome)>> {
    let text = fs::read_to_string(page)?;
    let mut outcomes = Vec::new();
    for part in parse(&text)? {
        if !part.blocks.is_empty() {
            outcomes.extend(run_part(workspace, page, &part)?);
        }
    }
    Ok(outcomes)
}

fn run_part(workspace: &Workspace, page: &Path, part: &Part) -> Result<Vec<(usize, Outcome)>> {
    let database = workspace.database("docs", part.template)?;
    let script = workspace.directory.join(format!("{database}.sql"));
    let mut text = String::new();
    for block in &part.blocks {
        text.push_str(&format!(
            "\\echo '{MARK}{}'\n{}\n;\n",
            block.line, block.text
        ));
    }
    fs::write(&script, text)?;
    let scratch = workspace.directory.join(format!("{database}.files"));
    fs::create_dir_all(&scratch)?;
    let mut psql = workspace.cluster.psql_command(&database);
    psql.current_dir(&scratch)
        .env("PGTZ", "UTC")
        .env("PG_LTV_ROOT", &workspace.project.root)
        .stdin(Stdio::from(fs::File::open(&script)?));
    let printed = interleaved(psql).with_context(|| format!("{}", page.display()))?;
    workspace.cluster.drop_database(&database)?;
    Ok(part
        .blocks
        .iter()
        .map(|block| (block.line, judge(block, &printed)))
        .collect())
}

fn judge(block: &Block, printed: &str) -> Outcome {
    let mark = format!("{MARK}{}\n", block.line);
    let Some((_, after)) = printed.split_once(&mark) else {
        return Outcome::Failed("not reached".into());
    };
    let output = after.split(MARK).next().unwrap_or("");
    let error = output.lines().find(|line| is_error(line));
    match (&block.fails, error) {
        (None, None) => Outcome::Passed,
        (Some(part), Some(_)) if output.contains(part.as_str()) => Outcome::Passed,
        (Some(part), _) => {
            Outcome::Failed(format!("must fail with `{part}`; it printed:\n{output}"))
        }
        (None, Some(_)) => Outcome::Failed(output.to_string()),
    }
}

fn is_error(line: &str) -> bool {
    [
        "ERROR:  ",
        "FATAL:  ",
        "PANIC:  ",
        "psql: error",
        "invalid command",
    ]
    .iter()
    .any(|start| line.starts_with(start))
        || (line.starts_with('\\') && line.contains(": "))
        || line.starts_with("server closed the connection")
}

fn parse(text: &str) -> Result<Vec<Part>> {
    let mut parts = vec![Part {
        template: Template::Demo,
        blocks: Vec::new(),
    }];
    let mut skip = false;
    let mut fails = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let trimmed = line.trim();
        if let Some(mark) = trimmed
            .strip_prefix("<!--")
            .and_then(|rest| rest.strip_suffix("-->"))
        {
            let (name, value) = mark.trim().split_once(": ").unwrap_or((mark.trim(), ""));
            match name {
                "database" => parts.push(Part {
                    template: Template::parse(value.trim())?,
                    blocks: Vec::new(),
                }),
                "no-run" => skip = true,
                "fails" => fails = Some(value.trim().to_string()),
                _ => {}
            }
        } else if let Some(language) = trimmed.strip_prefix("```") {
            let indent = line.len() - line.trim_start().len();
            let content: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| line.trim() != "```")
                .map(|line| line.get(indent..).unwrap_or(line.trim_start()))
                .collect();
            let (skipped, fails) = (std::mem::take(&mut skip), fails.take());
            if language.trim() == "sql"
                && !skipped
                && let Some(part) = parts.last_mut()
            {
                part.blocks.push(Block {
                    line: number + 1,
                    text: content.join("\n"),
                    fails,
                });
            }
        } else if !trimmed.is_empty() {
            skip = false;
            fails = None;
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_blocks_and_marks() {
        let text = "# Title\n```sql\nselect 1;\n```\n<!-- no-run: takes a day -->\n```sql\nselect 2;\n```\n\
                    <!-- database: cdnow -->\n<!-- fails: division by zero -->\n```sql\nselect 1/0;\n```\n```bash\nls\n```\n";
        let parts = parse(text).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!(
            parts[0].blocks,
            [Block {
                line: 2,
                text: "select 1;".into(),
                fails: None
            }]
        );
        assert_eq!(parts[1].template, Template::Cdnow);
        assert_eq!(
            parts[1].blocks,
            [Block {
                line: 11,
                text: "select 1/0;".into(),
                fails: Some("division by zero".into())
            }]
        );
    }

    #[test]
    fn judges_by_what_was_printed() {
        let block = |line, fails: Option<&str>| Block {
            line,
            text: String::new(),
            fails: fails.map(String::from),
        };
        let printed = "@@ block 3\n 1\n@@ block 9\nERROR:  division by zero\n";
        assert!(matches!(judge(&block(3, None), printed), Outcome::Passed));
        assert!(matches!(
            judge(&block(9, None), printed),
            Outcome::Failed(_)
        ));
        assert!(matches!(
            judge(&block(9, Some("division")), printed),
            Outcome::Passed
        ));
        assert!(matches!(
            judge(&block(3, Some("division")), printed),
            Outcome::Failed(_)
        ));
        assert!(matches!(
            judge(&block(20, None), printed),
            Outcome::Failed(_)
        ));
    }
}
