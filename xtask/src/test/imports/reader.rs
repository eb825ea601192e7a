//! The paths that a file mentions, from its tokens: `use` items, and paths in code and macros that begin at `crate`, `super` or
//! `self`.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module by its names from the root of the crate.
pub type Name = Vec<String>;

/// A path in a file, from the root of the crate.
pub struct Mention {
    pub names: Name,
    pub line: usize,
}

#[derive(Default)]
pub struct Module {
    pub file: String,
    pub paths: Vec<Mention>,
    /// Public names that stand for something elsewhere.
    pub exports: BTreeMap<String, Name>,
}

/// Reads the tokens of one file.
pub struct Reader<'a> {
    is_module: &'a dyn Fn(&[String]) -> bool,
    /// The module that the tokens stand in; modules inside the file are followed, too.
    module: Name,
    found: &'a mut Module,
}

impl<'a> Reader<'a> {
    pub fn new(
        is_module: &'a dyn Fn(&[String]) -> bool,
        module: Name,
        found: &'a mut Module,
    ) -> Self {
        Self {
            is_module,
            module,
            found,
        }
    }

    pub fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if is_for_tests(&tokens[at..]) {
                at += 2 + length_of_item(&tokens[at + 2..]);
            } else if is_word(tokens.get(at), "use") {
                let end = at + length_of_item(&tokens[at..]);
                let is_public = tokens[..at]
                    .iter()
                    .rev()
                    .take(2)
                    .any(|t| is_word(Some(t), "pub"))
                    && !starts_after_item(&tokens[..at]);
                self.import(&tokens[at + 1..end], &[], is_public);
                at = end;
            } else if is_word(tokens.get(at), "mod")
                && let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                    (tokens.get(at + 1), tokens.get(at + 2))
            {
                self.module.push(name.to_string());
                self.read(body.stream());
                self.module.pop();
                at += 3;
            } else if let Some(TokenTree::Group(group)) = tokens.get(at) {
                self.read(group.stream());
                at += 1;
            } else {
                at += self.path(&tokens[at..]);
            }
        }
    }

    /// A path that begins at the first token, if it is one from the root or from here; how many tokens were read.
    fn path(&mut self, tokens: &[TokenTree]) -> usize {
        let mut names = Vec::new();
        let mut at = 0;
        while let Some(TokenTree::Ident(name)) = tokens.get(at) {
            names.push(name.to_string());
            at += 1;
            if !is_colons(&tokens[at..]) {
                break;
            }
            at += 2;
        }
        let is_ours = matches!(
            names.first().map(String::as_str),
            Some("crate" | "super" | "self")
        );
        if is_ours && names.len() > 1 {
            self.keep(&names, tokens);
        }
        at.max(1)
    }

    /// The tree after `use`: `a::b::{c, d as e}`.
    fn import(&mut self, tokens: &[TokenTree], prefix: &[String], is_public: bool) {
        let mut names = prefix.to_vec();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Ident(name) if *name == "as" => break,
                TokenTree::Ident(name) => names.push(name.to_string()),
                TokenTree::Group(group) => {
                    let tree: Vec<TokenTree> = group.stream().into_iter().collect();
                    for branch in tree.split(is_comma) {
                        self.import(branch, &names, is_public);
                    }
                    return;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
        if names.last().is_some_and(|name| name == "self") {
            names.pop();
        }
        let Some(path) = self.keep(&names, tokens) else {
            return;
        };
        let renamed = match tokens.get(at + 1) {
            Some(TokenTree::Ident(name)) => Some(name.to_string()),
            _ => None,
        };
        if let (true, Some(name)) = (is_public, renamed.or_else(|| path.last().cloned())) {
            self.found.exports.insert(name, path);
        }
    }

    /// Notes a path from the root of the crate; `None` for one into another crate.
    fn keep(&mut self, names: &[String], tokens: &[TokenTree]) -> Option<Name> {
        let path = self.absolute(names)?;
        let line = tokens.first().map_or(0, |token| token.span().start().line);
        self.found.paths.push(Mention {
            names: path.clone(),
            line,
        });
        Some(path)
    }

    fn absolute(&self, names: &[String]) -> Option<Name> {
        let mut base = match names.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.module.clone(),
            child => {
                let mut name = self.module.clone();
                name.push(child.to_owned());
                (self.is_module)(&name).then_some(())?;
                name
            }
        };
        for name in &names[usize::from(names[0] != "super")..] {
            match name.as_str() {
                "super" => {
                    base.pop();
                }
                "self" => {}
                name => base.push(name.to_owned()),
            }
        }
        Some(base)
    }
}

/// `#[cfg(test)]`
fn is_for_tests(tokens: &[TokenTree]) -> bool {
    match tokens {
        [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] => {
            let text = attribute.stream().to_string();
            hash.as_char() == '#' && text.split_whitespace().collect::<String>() == "cfg(test)"
        }
        _ => false,
    }
}

/// Up to and with the `;` or the `{}` that ends an item.
fn length_of_item(tokens: &[TokenTree]) -> usize {
    let is_use = tokens
        .iter()
        .take(4)
        .any(|token| is_word(Some(token), "use"));
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && !is_use,
        _ => false,
    };
    tokens
        .iter()
        .position(ends)
        .map_or(tokens.len(), |end| end + 1)
}

/// Whether the last token ends an item, so that what stands before it is no part of the next one.
fn starts_after_item(tokens: &[TokenTree]) -> bool {
    match tokens.last() {
        Some(TokenTree::Punct(punct)) => punct.as_char() == ';',
        Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Brace,
        _ => false,
    }
}

fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(name)) if *name == word)
}

fn is_comma(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')
}

fn is_colons(tokens: &[TokenTree]) -> bool {
    let is_colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    is_colon(tokens.first())
        && is_colon(tokens.get(1))
        && matches!(tokens.get(2), Some(TokenTree::Ident(_)))
}
