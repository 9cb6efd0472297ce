//! Metrics that Envoy keeps for the guest.

use super::{Import, plain};
use crate::abi::{MetricType, Status};
use crate::guest::{Answer, Failure, Guest};
use crate::host::Metric;

pub(super) const IMPORTS: &[Import] = &[
    plain("proxy_define_metric", "iiii", define),
    plain("proxy_increment_metric", "iI", increment),
    plain("proxy_record_metric", "iI", record),
    plain("proxy_get_metric", "ii", get),
];

/// The same name and type again is the same metric.
fn define(guest: &mut Guest<'_>) -> Answer {
    let metric_type = MetricType::from_number(guest.u32(0)).ok_or(Status::BAD_ARGUMENT)?;
    let name = String::from_utf8_lossy(&guest.bytes(1)?).into_owned();
    let metrics = &mut guest.host().metrics;
    let known = metrics.iter().position(|metric| metric.name == name && metric.metric_type == metric_type);
    let index = known.unwrap_or_else(|| {
        metrics.push(Metric { name, metric_type, value: 0, records: Vec::new() });
        metrics.len() - 1
    });
    // Zero is no metric's number, so that a guest which forgot to define one is found out.
    guest.return_u32(3, u32::try_from(index + 1).unwrap_or(u32::MAX))
}

fn metric<'a>(guest: &'a mut Guest<'_>) -> Result<&'a mut Metric, Failure> {
    let index = usize::try_from(guest.u32(0)).ok().and_then(|number| number.checked_sub(1)).ok_or(Status::NOT_FOUND)?;
    Ok(guest.host().metrics.get_mut(index).ok_or(Status::NOT_FOUND)?)
}

fn increment(guest: &mut Guest<'_>) -> Answer {
    let offset = guest.i64(1);
    let metric = metric(guest)?;
    match metric.metric_type {
        MetricType::Counter if offset > 0 => {
            metric.value = metric.value.wrapping_add(offset.cast_unsigned());
        }
        MetricType::Gauge => metric.value = metric.value.wrapping_add_signed(offset),
        MetricType::Counter | MetricType::Histogram => return Err(Status::BAD_ARGUMENT.into()),
    }
    Ok(())
}

fn record(guest: &mut Guest<'_>) -> Answer {
    let value = guest.i64(1).cast_unsigned();
    let metric = metric(guest)?;
    match metric.metric_type {
        MetricType::Gauge => metric.value = value,
        MetricType::Histogram => metric.records.push(value),
        MetricType::Counter => return Err(Status::BAD_ARGUMENT.into()),
    }
    Ok(())
}

fn get(guest: &mut Guest<'_>) -> Answer {
    let metric = metric(guest)?;
    if metric.metric_type == MetricType::Histogram {
        return Err(Status::BAD_ARGUMENT.into());
    }
    let value = metric.value;
    guest.return_u64(1, value)
}
