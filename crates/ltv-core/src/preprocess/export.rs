//! The preprocessing as the front of an ONNX graph.
//!
//! The first nodes collect the inputs: one Concat of all float columns, named `ltv.numeric`, and one LabelEncoder per
//! category, named `ltv.category.<i>`. [`crate::onnx::specialise`] cuts the graph there.

use super::calendar::{DAYS, DatePart, EPOCH, HOUR_TOLERANCE};
use super::{DatePartColumn, Preprocessing, SequenceScaling};
use crate::batch::GraphInputs;
use crate::error::Result;
use crate::onnx::{
    Attribute, Axis, BATCH, ElementType, GraphBuilder, NUMERIC, Value, category_name,
};
use crate::schema::ColumnKind;

/// The inputs of a graph, as far as every kind of model wants them alike.
pub struct Front {
    /// Float `[batch, n]`: the columns of the matrix, timestamps as ages in days.
    numeric: Option<Value>,
    /// Int64 `[batch]` each: ids of categories, then of parts of dates.
    categories: Vec<Value>,
    sequence: Option<Value>,
}

impl Preprocessing {
    /// Declares the inputs and writes everything up to what the backbone takes.
    pub fn export(&self, graph: &mut GraphBuilder) -> Result<GraphInputs> {
        let front = self.export_front(graph);
        self.export_inputs(graph, &front)
    }

    /// Declares the inputs and collects them.
    pub fn export_front(&self, graph: &mut GraphBuilder) -> Front {
        let mut floats = Vec::new();
        let mut words = Vec::new();
        let mut sequence = None;
        for input in &self.inputs {
            let name = input.name.as_str();
            match input.kind {
                ColumnKind::Categorical => {
                    words.push(graph.input(name, ElementType::String, &[BATCH, Axis::Fixed(1)]));
                }
                ColumnKind::Sequence { channels } => {
                    let axes = [BATCH, Axis::Dynamic("steps"), Axis::Fixed(channels)];
                    sequence = Some(graph.input(name, ElementType::Float, &axes));
                }
                kind => {
                    let axes = [BATCH, Axis::Fixed(kind.matrix_width())];
                    floats.push(graph.input(name, ElementType::Float, &axes));
                }
            }
        }
        let mut categories = Vec::new();
        for (index, (word, vocabulary)) in words.iter().zip(&self.vocabularies).enumerate() {
            let encoded = label_encoder(graph, word, vocabulary, &category_name(index));
            categories.push(graph.reshape(&encoded, &[-1]));
        }
        let numeric = (!floats.is_empty()).then(|| {
            let floats: Vec<&Value> = floats.iter().collect();
            let axis = [("axis", Attribute::Int(1))];
            let raw = graph.named_op("Concat", "", &floats, NUMERIC, &axis);
            self.export_ages(graph, raw, &mut categories)
        });
        Front {
            numeric,
            categories,
            sequence,
        }
    }

    /// What a network takes.
    pub fn export_inputs(&self, graph: &mut GraphBuilder, front: &Front) -> Result<GraphInputs> {
        let numeric = match &front.numeric {
            Some(x) => self.export_numeric(graph, x),
            None => GraphBuilder::absent(),
        };
        let sequence = match (&front.sequence, &self.sequence) {
            (Some(value), Some(scaling)) => Some(scaling.export(graph, value, self.clip)),
            _ => None,
        };
        Ok(GraphInputs {
            numeric,
            categories: front.categories.clone(),
            sequence,
        })
    }

    /// What trees take, see [`Preprocessing::raw_columns`]: numbers, NaN where one is missing, and ids.
    pub fn export_raw(
        &self,
        graph: &mut GraphBuilder,
        front: &Front,
    ) -> (Option<Value>, Vec<Value>) {
        let numeric = front.numeric.as_ref().filter(|_| !self.columns.is_empty());
        let numeric = numeric.map(|x| {
            let present = graph.is_finite(x);
            let missing = graph.float(f32::NAN);
            graph.select(&present, x, &missing)
        });
        (numeric, front.categories.clone())
    }

    /// Timestamps become ages, and their parts categories.
    fn export_ages(
        &self,
        graph: &mut GraphBuilder,
        raw: Value,
        categories: &mut Vec<Value>,
    ) -> Value {
        if self.date_parts.is_empty() {
            return raw;
        }
        let width = self.columns.len();
        let row = |of: &dyn Fn(usize) -> f32| (0..width).map(of).collect::<Vec<f32>>();
        let mut x = raw;
        let cut_off = self.export_cut_off(graph, &mut x);
        for date in &self.date_parts {
            categories.push(export_part(graph, &x, date));
        }
        let sign = row(&|c| if self.columns[c].is_date { -1.0 } else { 1.0 });
        let is_date = row(&|c| f32::from(u8::from(self.columns[c].is_date)));
        let sign = graph.floats(&sign, &[1, width]);
        let is_date = graph.floats(&is_date, &[1, width]);
        let days = graph.mul(&cut_off, &is_date);
        let signed = graph.mul(&x, &sign);
        graph.add(&days, &signed)
    }

    fn export_numeric(&self, graph: &mut GraphBuilder, x: &Value) -> Value {
        let width = self.columns.len();
        let row = |of: &dyn Fn(usize) -> f32| (0..width).map(of).collect::<Vec<f32>>();
        let present = graph.is_finite(x);
        let median = graph.floats(&row(&|c| self.columns[c].median), &[1, width]);
        let mut x = graph.select(&present, x, &median);
        let logs: Vec<bool> = self.columns.iter().map(|column| column.log).collect();
        x = export_signed_log(graph, &x, &logs);
        let mean = graph.floats(&row(&|c| self.columns[c].mean), &[1, width]);
        let scale = graph.floats(&row(&|c| self.columns[c].scale), &[1, width]);
        x = graph.sub(&x, &mean);
        x = graph.mul(&x, &scale);
        let low = graph.floats(&row(&|c| self.columns[c].low), &[1, width]);
        let high = graph.floats(&row(&|c| self.columns[c].high), &[1, width]);
        x = graph.op("Max", &[&x, &low], &[]);
        x = graph.op("Min", &[&x, &high], &[]);
        let indicators: Vec<i64> = self
            .indicator_columns()
            .into_iter()
            .map(|column| column as i64)
            .collect();
        if indicators.is_empty() {
            return x;
        }
        let mut present = present;
        if indicators.len() < width {
            present = graph.columns(&present, &indicators);
        }
        let (no, yes) = (graph.float(0.0), graph.float(1.0));
        let missing = graph.select(&present, &no, &yes);
        graph.concat(&[&x, &missing], 1)
    }

    /// The cut-off of each row, `[batch, 1]` or a scalar; takes its column off `x`.
    fn export_cut_off(&self, graph: &mut GraphBuilder, x: &mut Value) -> Value {
        let reference = graph.floats(&[self.reference_date], &[1, 1]);
        if !self.has_as_of {
            return reference;
        }
        let width = self.columns.len() as i64;
        let given = graph.slice(x, 1, width, width + 1);
        *x = graph.slice(x, 1, 0, width);
        let present = graph.is_finite(&given);
        graph.select(&present, &given, &reference)
    }
}

/// On the columns marked; the last axis counts.
fn export_signed_log(graph: &mut GraphBuilder, x: &Value, columns: &[bool]) -> Value {
    if !columns.contains(&true) {
        return x.clone();
    }
    let one = graph.float(1.0);
    let size = graph.op("Abs", &[x], &[]);
    let size = graph.add(&size, &one);
    let log = graph.log(&size);
    let sign = graph.op("Sign", &[x], &[]);
    let log = graph.mul(&log, &sign);
    if !columns.contains(&false) {
        return log;
    }
    let columns = graph.bools(columns, &[1, columns.len()]);
    graph.select(&columns, &log, x)
}

fn label_encoder(graph: &mut GraphBuilder, word: &Value, values: &[String], name: &str) -> Value {
    // An encoder needs a key; the missing value gets the id it would get anyway.
    let keys = std::iter::once(String::new()).chain(values.iter().cloned());
    let attributes = [
        ("keys_strings", Attribute::Texts(keys.collect())),
        (
            "values_int64s",
            Attribute::Ints((0..=values.len() as i64).collect()),
        ),
        ("default_int64", Attribute::Int(0)),
    ];
    graph.named_op("LabelEncoder", "ai.onnx.ml", &[word], name, &attributes)
}

/// The id of one calendar part, `[batch]`; see [`DatePart::of`].
fn export_part(graph: &mut GraphBuilder, x: &Value, date: &DatePartColumn) -> Value {
    let days = graph.column(x, date.column as i64);
    let present = graph.is_finite(&days);
    let epoch = graph.float(0.0);
    let days = graph.select(&present, &days, &epoch);
    let days = graph.clip(&days, DAYS.0, DAYS.1);
    let whole = graph.op("Floor", &[&days], &[]);
    let id = match date.part {
        DatePart::Hour => {
            let fraction = graph.sub(&days, &whole);
            let hours = graph.float(24.0);
            let hour = graph.mul(&fraction, &hours);
            let tolerance = graph.float(HOUR_TOLERANCE);
            let hour = graph.add(&hour, &tolerance);
            let hour = graph.op("Floor", &[&hour], &[]);
            let last = graph.float(23.0);
            let hour = graph.op("Min", &[&hour, &last], &[]);
            let hour = graph.cast(&hour, ElementType::Int64);
            Whole(graph).plus(&hour, 1)
        }
        DatePart::Weekday => {
            let z = graph.cast(&whole, ElementType::Int64);
            let mut g = Whole(graph);
            let z = g.plus(&z, EPOCH + 2);
            let day = g.modulo(&z, 7);
            g.plus(&day, 1)
        }
        DatePart::Month => {
            let z = graph.cast(&whole, ElementType::Int64);
            let mut g = Whole(graph);
            let z = g.plus(&z, EPOCH);
            g.month(&z)
        }
    };
    let none = graph.ints(&[0], &[]);
    graph.select(&present, &id, &none)
}

/// Integer arithmetic with constants on values that are not negative.
struct Whole<'a>(&'a mut GraphBuilder);

impl Whole<'_> {
    fn with(&mut self, op: &str, x: &Value, constant: i64) -> Value {
        let constant = self.0.ints(&[constant], &[]);
        self.0.op(op, &[x, &constant], &[])
    }
    fn plus(&mut self, x: &Value, constant: i64) -> Value {
        self.with("Add", x, constant)
    }
    fn times(&mut self, x: &Value, constant: i64) -> Value {
        self.with("Mul", x, constant)
    }
    fn by(&mut self, x: &Value, constant: i64) -> Value {
        self.with("Div", x, constant)
    }
    fn modulo(&mut self, x: &Value, constant: i64) -> Value {
        self.with("Mod", x, constant)
    }

    /// From days since 0000-03-01; the same steps as `calendar::month`.
    fn month(&mut self, z: &Value) -> Value {
        let day_of_era = self.modulo(z, 146_097);
        let fourth = self.by(&day_of_era, 1_460);
        let century = self.by(&day_of_era, 36_524);
        let era_end = self.by(&day_of_era, 146_096);
        let days = self.0.sub(&day_of_era, &fourth);
        let days = self.0.add(&days, &century);
        let days = self.0.sub(&days, &era_end);
        let year = self.by(&days, 365);
        let leap = self.by(&year, 4);
        let skipped = self.by(&year, 100);
        let before = self.times(&year, 365);
        let before = self.0.add(&before, &leap);
        let before = self.0.sub(&before, &skipped);
        let day_of_year = self.0.sub(&day_of_era, &before);
        let month = self.times(&day_of_year, 5);
        let month = self.plus(&month, 2);
        let month = self.by(&month, 153);
        let month = self.plus(&month, 2);
        let month = self.modulo(&month, 12);
        self.plus(&month, 1)
    }
}

impl SequenceScaling {
    /// Values `[batch, steps, channels]` and mask `[batch, steps]` from an input with any number of steps.
    fn export(&self, graph: &mut GraphBuilder, input: &Value, clip: f32) -> (Value, Value) {
        let steps = self.steps as i64;
        let width = self.channels.len();
        let pads = graph.ints(&[0, steps, 0, 0, 0, 0], &[6]);
        let nan = graph.float(f32::NAN);
        let padded = graph.op("Pad", &[input, &pads, &nan], &[]);
        let x = graph.slice(&padded, 1, -steps, i64::MAX);
        let present = graph.is_finite(&x);
        let zero = graph.float(0.0);
        let x = graph.select(&present, &x, &zero);
        let logs: Vec<bool> = self.channels.iter().map(|channel| channel.log).collect();
        let x = export_signed_log(graph, &x, &logs);
        let row = |of: fn(&super::Channel) -> f32| self.channels.iter().map(of).collect::<Vec<_>>();
        let mean = graph.floats(&row(|channel| channel.mean), &[1, 1, width]);
        let scale = graph.floats(&row(|channel| channel.scale), &[1, 1, width]);
        let x = graph.sub(&x, &mean);
        let x = graph.mul(&x, &scale);
        let x = graph.clip(&x, -clip, clip);
        let x = graph.select(&present, &x, &zero);
        let present = graph.cast(&present, ElementType::Float);
        let attributes = [
            ("axes", Attribute::Ints(vec![2])),
            ("keepdims", Attribute::Int(0)),
        ];
        let mask = graph.op("ReduceMax", &[&present], &attributes);
        (x, mask)
    }
}
