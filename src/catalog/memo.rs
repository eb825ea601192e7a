//! What names meant to the last statements. While no transaction completes and nothing was invalidated, a snapshot
//! sees what the one before it saw, so a name need not be looked up again.

use super::moment::Moment;
use crate::scoring::{self, Model, Versions};
use std::cell::RefCell;
use std::rc::{Rc, Weak};

struct Answer {
    moment: Moment,
    name: String,
    version: Option<i32>,
    model: Weak<Model>,
}

thread_local! {
    static ANSWERS: RefCell<Vec<Answer>> = const { RefCell::new(Vec::new()) };
}

const LIMIT: usize = 16;

/// What `name` was found to mean at this very moment by another statement or call.
pub fn recall(moment: Moment, name: &str, version: Option<i32>) -> Option<Versions> {
    let model = ANSWERS.with_borrow(|answers| {
        let answer = answers
            .iter()
            .find(|a| a.moment == moment && a.version == version && a.name == name)?;
        answer.model.upgrade()
    })?;
    scoring::used(&model).then_some(Versions {
        model,
        traffic: None,
    })
}

/// `moment`: as of after the look-up.
pub fn keep(moment: Moment, name: &str, version: Option<i32>, found: &Versions) {
    if found.traffic.is_some() || !moment.counts_transactions() {
        return;
    }
    ANSWERS.with_borrow_mut(|answers| {
        answers.retain(|a| a.version != version || a.name != name);
        if answers.len() >= LIMIT {
            answers.remove(0);
        }
        answers.push(Answer {
            moment,
            name: name.to_owned(),
            version,
            model: Rc::downgrade(&found.model),
        });
    });
}
