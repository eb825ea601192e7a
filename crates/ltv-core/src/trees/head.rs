//! From the parameters that trees predict to the outputs of an objective, in Rust and in a graph.

use super::loss::{Loss, Part};
use crate::error::{Error, Result};
use crate::kernels::functions::scalar::sigmoid;
use crate::objective::terms::{
    EXPONENT_LIMIT, export_expm1, export_lognormal, export_minimum, export_probability,
};
use crate::objective::{
    Distribution, ObjectiveConfig, RegressionConfig, TargetStatistics, TargetTransform,
    TweedieConfig, horizons,
};
use crate::onnx::{GraphBuilder, Value};
use serde::{Deserialize, Serialize};

/// The objective of trees, and what its amounts are divided by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// The amount, or ln(1 + amount).
    Amount {
        /// Its loss.
        loss: Loss,
        /// What amounts are divided by.
        scale: f64,
        /// Whether the parameter is ln(1 + amount).
        log1p: bool,
    },
    /// The logit of a purchase.
    Purchase,
    /// The logarithm of the mean of a Tweedie law.
    Tweedie {
        /// Its power.
        power: f64,
        /// What amounts are divided by.
        scale: f64,
    },
    /// The logit of a purchase, and mean and logarithm of sigma of a lognormal.
    Ziln {
        /// Sigma is no smaller.
        sigma_floor: f64,
    },
    /// Several heads of the same spend, with other outputs each.
    Together(Vec<Self>),
    /// A head for what is spent in all, and one for each interval between the ends of several horizons.
    Horizons {
        /// What is spent in all.
        whole: Box<Self>,
        /// In each interval.
        intervals: Vec<Self>,
    },
}

/// Objectives that trees can be grown for.
pub const OBJECTIVES: &[&str] = &["mse", "huber", "purchase", "tweedie", "ziln"];

impl Head {
    /// For the objective; an error where it needs a network.
    pub fn new(objective: &ObjectiveConfig, target: &TargetStatistics) -> Result<Self> {
        let amount = |loss: Loss, config: &RegressionConfig| match config.target_transform {
            TargetTransform::None => Self::Amount {
                loss,
                scale: target.amount_scale(),
                log1p: false,
            },
            TargetTransform::Log1p => Self::Amount {
                loss,
                scale: 1.0,
                log1p: true,
            },
        };
        Ok(match objective {
            ObjectiveConfig::Mse(config) => amount(Loss::Square, config),
            ObjectiveConfig::Huber(config) => amount(Loss::Huber(config.delta), config),
            ObjectiveConfig::Purchase => Self::Purchase,
            ObjectiveConfig::Tweedie(config) => Self::Tweedie {
                power: config.power,
                scale: target.amount_scale(),
            },
            ObjectiveConfig::Ziln(config) => Self::Ziln {
                sigma_floor: config.sigma_floor,
            },
            ObjectiveConfig::Cmltv(_) => return Err(Self::refused("cmltv")),
            ObjectiveConfig::Expltv(_) => return Err(Self::refused("expltv")),
        })
    }

    /// For trees beside networks of the objective. Where those know the distribution of what is spent, the mean and the logit of a purchase are all
    /// that trees are asked for: they grow fewer of them for it, and order customers better, than for a zero-inflated lognormal.
    pub fn beside(objective: &ObjectiveConfig, target: &TargetStatistics) -> Result<Self> {
        match objective {
            ObjectiveConfig::Ziln(_) | ObjectiveConfig::Cmltv(_) | ObjectiveConfig::Expltv(_) => {
                let mean = ObjectiveConfig::Tweedie(TweedieConfig::default());
                let purchase = ObjectiveConfig::Purchase;
                let heads = [mean, purchase].map(|part| Self::new(&part, target));
                Ok(Self::Together(heads.into_iter().collect::<Result<_>>()?))
            }
            other => Self::new(other, target),
        }
    }

    /// What `of` makes of the target, and of each interval between the ends of several horizons too, if there are any.
    pub fn with_intervals(
        of: impl Fn(&TargetStatistics) -> Result<Self>,
        target: &TargetStatistics,
        intervals: &[TargetStatistics],
    ) -> Result<Self> {
        let whole = of(target)?;
        if intervals.is_empty() {
            return Ok(whole);
        }
        let heads = intervals.iter().map(of);
        Ok(Self::Horizons {
            whole: Box::new(whole),
            intervals: heads.collect::<Result<_>>()?,
        })
    }

    /// What objective `name` with trees ends with.
    pub fn refused(name: &str) -> Error {
        Error::invalid(format!(
            "objective \"{name}\" needs a network, and backbone \"trees\" is none"
        ))
        .detail(format!("Trees can be grown for {}.", OBJECTIVES.join(", ")))
        .hint("Use one of these objectives, or another backbone.")
    }

    /// Whether trees for `other` can be added to trees for this one: the same but for what amounts are divided by.
    pub fn is_like(&self, other: &Self) -> bool {
        self.unscaled() == other.unscaled()
    }

    fn unscaled(&self) -> Self {
        let mut unscaled = self.clone();
        match &mut unscaled {
            Self::Amount { scale, .. } | Self::Tweedie { scale, .. } => *scale = 1.0,
            Self::Together(heads) => heads.iter_mut().for_each(|head| *head = head.unscaled()),
            Self::Horizons { whole, intervals } => {
                **whole = whole.unscaled();
                intervals
                    .iter_mut()
                    .for_each(|head| *head = head.unscaled());
            }
            Self::Purchase | Self::Ziln { .. } => {}
        }
        unscaled
    }

    /// What is boosted; the parameters of the first part come first.
    pub fn parts(&self) -> Vec<Part> {
        match self {
            Self::Amount { loss, scale, log1p } => vec![Part {
                scale: *scale,
                log1p: *log1p,
                ..Part::new(loss.clone())
            }],
            Self::Purchase => vec![Part::new(Loss::Purchase)],
            Self::Tweedie { power, scale } => vec![Part {
                scale: *scale,
                ..Part::new(Loss::Tweedie(*power))
            }],
            Self::Ziln { .. } => vec![Part::new(Loss::Purchase), Part::new(Loss::Lognormal)],
            Self::Together(heads) => heads.iter().flat_map(Self::parts).collect(),
            Self::Horizons { whole, intervals } => {
                let mut parts = whole.parts();
                for (index, head) in intervals.iter().enumerate() {
                    let of_interval = head.parts().into_iter().map(|part| Part {
                        interval: index + 1,
                        ..part
                    });
                    parts.extend(of_interval);
                }
                parts
            }
        }
    }

    /// How many parameters a row has.
    pub fn parameters(&self) -> usize {
        self.parts().iter().map(|part| part.loss.parameters()).sum()
    }

    /// Its own parameters, off the front of `rest`.
    fn take<'a, T>(&self, rest: &mut &'a [T]) -> &'a [T] {
        let (own, after) = rest.split_at(self.parameters().min(rest.len()));
        *rest = after;
        own
    }

    /// How `mu` and `sigma` among the outputs are to be read, if they are there.
    pub fn distribution(&self) -> Option<Distribution> {
        match self {
            Self::Ziln { .. } => Some(Distribution::ZeroInflatedLognormal),
            Self::Together(heads) => heads.iter().find_map(Self::distribution),
            Self::Horizons { whole, .. } => whole.distribution(),
            Self::Amount { .. } | Self::Purchase | Self::Tweedie { .. } => None,
        }
    }

    /// Predictions by public name, from each row's parameters.
    pub fn predict(&self, parameters: &[Vec<f64>]) -> Vec<(&'static str, Vec<f32>)> {
        let limit = EXPONENT_LIMIT;
        let mut rest = parameters;
        let column = |index: usize| parameters.get(index).map_or(&[][..], Vec::as_slice);
        let of = |value: &dyn Fn(f64) -> f64| -> Vec<f32> {
            column(0).iter().map(|&f| value(f) as f32).collect()
        };
        match self {
            Self::Amount { scale, log1p, .. } => {
                let value = |f: f64| match log1p {
                    true => f.min(limit).exp_m1(),
                    false => f * scale,
                };
                vec![("ltv", of(&|f| value(f).clamp(0.0, f64::from(f32::MAX))))]
            }
            Self::Purchase => vec![("purchase_probability", of(&sigmoid))],
            Self::Tweedie { scale, .. } => {
                vec![(
                    "ltv",
                    of(&|f| (f.clamp(-limit, limit).exp() * scale).min(limit.exp())),
                )]
            }
            Self::Ziln { sigma_floor } => {
                let probability = of(&sigmoid);
                let mu: Vec<f32> = column(1)
                    .iter()
                    .map(|f| f.clamp(-limit, limit) as f32)
                    .collect();
                let sigma: Vec<f32> = column(2)
                    .iter()
                    .map(|rho| rho.min(limit).exp().clamp(*sigma_floor, limit) as f32)
                    .collect();
                let rows = probability.iter().zip(&mu).zip(&sigma);
                let ltv = rows.map(|((p, mu), sigma)| {
                    let exponent = f64::from(*mu) + 0.5 * f64::from(*sigma).powi(2);
                    (f64::from(*p) * exponent.min(limit).exp()) as f32
                });
                vec![
                    ("ltv", ltv.collect()),
                    ("purchase_probability", probability),
                    ("mu", mu),
                    ("sigma", sigma),
                ]
            }
            Self::Together(heads) => {
                let mut of = |head: &Self| head.predict(head.take(&mut rest));
                heads.iter().flat_map(&mut of).collect()
            }
            Self::Horizons { whole, intervals } => {
                let mut of = |head: &Self| head.predict(head.take(&mut rest));
                let whole = of(whole);
                let intervals = intervals.iter().map(of).collect();
                horizons::gather(whole, intervals, |sum, spent| {
                    let pairs = sum.iter_mut().zip(spent);
                    pairs.for_each(|(sum, spent)| *sum += spent);
                })
            }
        }
    }

    /// The same in a graph, from parameters of shape `[batch]`.
    pub fn export(
        &self,
        graph: &mut GraphBuilder,
        parameters: &[Value],
    ) -> Result<Vec<(&'static str, Value)>> {
        let limit = EXPONENT_LIMIT as f32;
        let mut rest = parameters;
        let parameter = |index: usize| {
            parameters
                .get(index)
                .ok_or_else(|| Error::internal("a parameter is missing"))
        };
        let first = parameter(0)?;
        Ok(match self {
            Self::Amount { log1p: true, .. } => {
                let limited = export_minimum(graph, first, limit);
                let ltv = export_expm1(graph, &limited);
                vec![("ltv", graph.max(&ltv, 0.0))]
            }
            Self::Amount { scale, .. } => {
                let scale = graph.float(*scale as f32);
                let ltv = graph.mul(first, &scale);
                vec![("ltv", graph.clip(&ltv, 0.0, f32::MAX))]
            }
            Self::Purchase => vec![("purchase_probability", export_probability(graph, first))],
            Self::Tweedie { scale, .. } => {
                let limited = graph.clip(first, -limit, limit);
                let mean = graph.exp(&limited);
                let scale = graph.float(*scale as f32);
                let ltv = graph.mul(&mean, &scale);
                vec![(
                    "ltv",
                    export_minimum(graph, &ltv, EXPONENT_LIMIT.exp() as f32),
                )]
            }
            Self::Ziln { sigma_floor } => {
                let probability = export_probability(graph, first);
                let rho = export_minimum(graph, parameter(2)?, limit);
                let sigma = graph.exp(&rho);
                let sigma = graph.clip(&sigma, *sigma_floor as f32, limit);
                let (mu, sigma, ltv) = export_lognormal(graph, &probability, parameter(1)?, &sigma);
                vec![
                    ("ltv", ltv),
                    ("purchase_probability", probability),
                    ("mu", mu),
                    ("sigma", sigma),
                ]
            }
            Self::Together(heads) => {
                let mut outputs = Vec::new();
                for head in heads {
                    outputs.extend(head.export(graph, head.take(&mut rest))?);
                }
                outputs
            }
            Self::Horizons { whole, intervals } => {
                let mut of = |head: &Self, graph: &mut GraphBuilder| {
                    head.export(graph, head.take(&mut rest))
                };
                let whole = of(whole, graph)?;
                let mut each = Vec::with_capacity(intervals.len());
                for head in intervals {
                    each.push(of(head, graph)?);
                }
                horizons::gather(whole, each, |sum, spent| *sum = graph.add(sum, spent))
            }
        })
    }
}
