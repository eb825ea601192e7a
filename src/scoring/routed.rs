//! The ways of a call's rows: through the champion, and, where traffic is split, through the challenger.

use super::batch::Batch;
use super::binding::{Binding, Customer};
use super::{Model, Output};
use crate::error::Result;
use ltv_core::data::customer_hash;
use pgrx::pg_sys;
use std::rc::Rc;

/// What a call scores with.
pub struct Versions {
    /// The champion, or the pinned version.
    pub model: Rc<Model>,
    pub traffic: Option<Traffic>,
}

/// A share of the customers that the challenger scores.
#[derive(Clone)]
pub struct Traffic {
    pub challenger: Rc<Model>,
    pub share: f64,
    /// The column or key whose value decides; where there is none, all features do.
    pub id_column: Option<String>,
}

struct Lane {
    batch: Batch,
    binding: Binding,
}

struct Split {
    challenger: Lane,
    traffic: Traffic,
    customer: Customer,
    /// For each row whether the challenger has it, and its number there.
    places: Vec<(bool, u32)>,
    text: String,
}

/// Where each row is a value or loose columns; like a [`Batch`], but of one or two versions.
pub struct Lanes {
    champion: Lane,
    split: Option<Box<Split>>,
}

/// A row of a call's input.
#[derive(Clone, Copy)]
enum Row<'a> {
    Datum(pg_sys::Datum),
    Columns(&'a [pg_sys::Datum], &'a [bool]),
}

impl Lane {
    fn new(model: Rc<Model>, output: Output, binding: Binding) -> Result<Self> {
        model.require(output)?;
        Ok(Self {
            batch: Batch::new(model),
            binding,
        })
    }

    /// # Safety
    /// The row is of what the binding was made for.
    unsafe fn push(&mut self, row: Row) -> Result<()> {
        // SAFETY: as the caller promises.
        unsafe {
            match row {
                Row::Datum(datum) => self.batch.push_datum(&mut self.binding, datum),
                Row::Columns(values, nulls) => {
                    self.batch.push_columns(&mut self.binding, values, nulls)
                }
            }
        }
    }
}

impl Lanes {
    /// For values of a type: array, composite, jsonb.
    pub fn for_type(versions: Versions, output: Output, type_oid: pg_sys::Oid) -> Result<Self> {
        Self::new(
            versions,
            output,
            |model| Binding::for_type(model, type_oid),
            |id| Customer::of_type(type_oid, id),
        )
    }

    /// For loose columns: name, type and attribute number of each.
    pub fn for_columns(
        versions: Versions,
        output: Output,
        columns: &[(&str, pg_sys::Oid, i16)],
    ) -> Result<Self> {
        Self::new(
            versions,
            output,
            |model| Binding::for_columns(model, columns),
            |id| Customer::of_columns(columns, id),
        )
    }

    fn new(
        versions: Versions,
        output: Output,
        bind: impl Fn(&Model) -> Result<Binding>,
        customer: impl Fn(&str) -> Customer,
    ) -> Result<Self> {
        let lane = |model: Rc<Model>| {
            let binding = bind(&model)?;
            Lane::new(model, output, binding)
        };
        let split = match versions.traffic {
            None => None,
            Some(traffic) => Some(Box::new(Split {
                challenger: lane(traffic.challenger.clone())?,
                customer: traffic
                    .id_column
                    .as_deref()
                    .map_or(Customer::Unknown, customer),
                traffic,
                places: Vec::new(),
                text: String::new(),
            })),
        };
        Ok(Self {
            champion: lane(versions.model)?,
            split,
        })
    }

    pub fn model(&self) -> &Rc<Model> {
        self.champion.batch.model()
    }

    pub fn traffic(&self) -> Option<&Traffic> {
        self.split.as_ref().map(|split| &split.traffic)
    }

    /// Whether these are the lanes of just these versions.
    pub fn serve(&self, versions: &Versions) -> bool {
        Rc::ptr_eq(self.model(), &versions.model)
            && match (self.traffic(), &versions.traffic) {
                (None, None) => true,
                (Some(a), Some(b)) => {
                    Rc::ptr_eq(&a.challenger, &b.challenger)
                        && a.share == b.share
                        && a.id_column == b.id_column
                }
                _ => false,
            }
    }

    /// The highest attribute number that [`Lanes::push_columns`] reads; 0 for none.
    pub fn last_attribute(&self) -> i16 {
        let own = self.champion.binding.last_attribute();
        self.split.as_ref().map_or(own, |split| {
            own.max(split.challenger.binding.last_attribute())
                .max(split.customer.last_attribute())
        })
    }

    pub fn clear(&mut self) {
        self.champion.batch.clear();
        if let Some(split) = &mut self.split {
            split.challenger.batch.clear();
            split.places.clear();
        }
    }

    /// # Safety
    /// See [`Batch::push_datum`].
    pub unsafe fn push_datum(&mut self, datum: pg_sys::Datum) -> Result<()> {
        // SAFETY: as the caller promises.
        unsafe { self.push(Row::Datum(datum)) }
    }

    /// # Safety
    /// See [`Batch::push_columns`]; as far as [`Lanes::last_attribute`].
    pub unsafe fn push_columns(&mut self, values: &[pg_sys::Datum], nulls: &[bool]) -> Result<()> {
        // SAFETY: as the caller promises.
        unsafe { self.push(Row::Columns(values, nulls)) }
    }

    unsafe fn push(&mut self, row: Row) -> Result<()> {
        // SAFETY: as the caller promises; `text` and the scratch context are not touched until the position is known.
        unsafe {
            let Some(split) = &mut self.split else {
                return self.champion.push(row);
            };
            let id = match row {
                Row::Datum(datum) => split.customer.id_of_datum(datum, &mut split.text),
                Row::Columns(values, nulls) => {
                    split.customer.id_of_columns(values, nulls, &mut split.text)
                }
            };
            let challenger = match id.map(|id| customer_hash::fraction("traffic:", id)) {
                Some(position) if position < split.traffic.share => {
                    split.challenger.push(row)?;
                    true
                }
                Some(_) => {
                    self.champion.push(row)?;
                    false
                }
                None => {
                    self.champion.push(row)?;
                    let moves = self.champion.batch.last_position() < split.traffic.share;
                    if moves {
                        self.champion.batch.take_back();
                        split.challenger.push(row)?;
                    }
                    moves
                }
            };
            let lane = if challenger {
                &split.challenger
            } else {
                &self.champion
            };
            split.places.push((challenger, lane.batch.len() as u32 - 1));
            Ok(())
        }
    }

    /// One inference per version over all rows.
    pub fn run(&mut self) -> Result<()> {
        self.champion.batch.run()?;
        match &mut self.split {
            Some(split) => split.challenger.batch.run(),
            None => Ok(()),
        }
    }

    /// See [`Batch::column`]; none where rows went two ways.
    pub fn column(&self, output: Output) -> Option<&[f32]> {
        match self.split {
            None => self.champion.batch.column(output),
            Some(_) => None,
        }
    }

    /// See [`Batch::value`].
    pub fn value(
        &mut self,
        output: Output,
        row: usize,
        argument: Option<f64>,
    ) -> Result<(pg_sys::Datum, bool)> {
        let (batch, row) = match &mut self.split {
            None => (&mut self.champion.batch, row),
            Some(split) => match split.places[row] {
                (true, row) => (&mut split.challenger.batch, row as usize),
                (false, row) => (&mut self.champion.batch, row as usize),
            },
        };
        batch.value(output, row, argument)
    }

    /// Whether every version takes this argument; of one that does not, the call itself says why.
    pub fn takes(&self, output: Output, argument: Option<f64>) -> bool {
        let challenger = self.split.as_ref().map(|split| &split.challenger.batch);
        let mut batches = std::iter::once(&self.champion.batch).chain(challenger);
        batches.all(|batch| batch.model().check(output, argument).is_ok())
    }
}
