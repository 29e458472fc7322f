//! What a run found, for people and for programs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{endpoint::Tally, histogram::Histogram, reception::Counts, scene::Summary};

/// Everything that was found.
#[derive(Debug)]
pub(crate) struct Report {
    /// How many were connected to the relay when counting began.
    pub(crate) connected: usize,
    /// From the first arrival until then.
    pub(crate) connecting: Duration,
    /// How long was counted.
    pub(crate) lasted: Duration,
    /// CPU time of this program meanwhile.
    pub(crate) own_cpu: Duration,
    /// CPU time of the server meanwhile.
    pub(crate) server_cpu: Option<Duration>,
    /// Bytes of memory of the server before anybody arrived, and at the end.
    pub(crate) server_memory: Option<(u64, u64)>,
    /// Each participant's.
    pub(crate) summaries: Vec<Summary>,
}

impl Report {
    fn sum(&self) -> Tally {
        let mut sum = Tally::default();
        for summary in &self.summaries {
            sum.add(&summary.tally);
        }
        sum
    }

    /// CPU seconds of the server for each Gbit of payload that was received.
    fn seconds_a_gigabit(&self, sum: &Tally) -> Option<f64> {
        let gigabits = (sum.pictures.bytes + sum.sound.bytes) as f64 * 8.0 / 1e9;
        (gigabits > 0.0)
            .then(|| self.server_cpu.map(|cpu| cpu.as_secs_f64() / gigabits))
            .flatten()
    }

    /// Bytes of memory of the server for each participant.
    fn memory_a_participant(&self) -> Option<f64> {
        let (before, after) = self.server_memory?;
        Some((after as f64 - before as f64) / self.summaries.len().max(1) as f64)
    }
}

/// Prints the sums.
pub(crate) fn print(report: &Report) {
    let sum = report.sum();
    let seconds = report.lasted.as_secs_f64();
    let rate = |bytes: u64| bytes as f64 * 8.0 / 1e6 / seconds;
    println!(
        "{} connected in {:.1} s; counted for {seconds:.1} s",
        report.connected,
        report.connecting.as_secs_f64()
    );
    println!(
        "sent     {} packets, {:.1} Mb/s; {} again, {} keyframes asked, {} refused by the kernel",
        sum.sent_packets,
        rate(sum.sent_bytes),
        sum.sent_again,
        sum.asked_for_keyframes,
        sum.refused
    );
    for (name, counts) in [("pictures", &sum.pictures), ("sound", &sum.sound)] {
        println!(
            "{name:8} {} packets, {:.1} Mb/s; {} lost, {} repaired, {} late",
            counts.packets,
            rate(counts.bytes),
            counts.lost,
            counts.repaired,
            counts.late
        );
    }
    println!(
        "         {} pictures, {} keyframes; {} freezes ({:.1} s), longest interval {:.0} ms",
        sum.pictures.pictures,
        sum.pictures.keyframes,
        sum.pictures.freezes,
        sum.pictures.frozen.as_secs_f64(),
        millis(sum.pictures.longest)
    );
    println!(
        "delay    {} at half, {} at 99 %, {:.1} ms at most",
        text(sum.delay.quantile(0.5)),
        text(sum.delay.quantile(0.99)),
        millis(sum.delay.longest())
    );
    for (name, list) in [
        ("switches", &sum.pictures.switches),
        ("first", &sum.pictures.first),
    ] {
        println!(
            "{name:8} {}: {} at half, {} at most",
            list.len(),
            text(of(list, 0.5)),
            text(of(list, 1.0))
        );
    }
    let server = match (report.server_cpu, report.seconds_a_gigabit(&sum)) {
        (Some(cpu), Some(each)) => format!(
            "{:.0} % of a core, {each:.2} s a Gbit",
            cpu.as_secs_f64() / seconds * 100.0
        ),
        _ => "not known".to_owned(),
    };
    let memory = report
        .memory_a_participant()
        .map_or("not known".to_owned(), |bytes| {
            format!("{:.2} MB a participant", bytes / 1e6)
        });
    println!(
        "server   {server}; {memory}; own {:.0} %",
        report.own_cpu.as_secs_f64() / seconds * 100.0
    );
}

/// Writes everything as JSON.
pub(crate) fn json(report: &Report) -> String {
    let sum = report.sum();
    let people: Vec<Value> = (report.summaries.iter())
        .map(|summary| person(summary, report.lasted))
        .collect();
    let all = json!({
        "connected": report.connected,
        "connecting_ms": millis(report.connecting),
        "seconds": report.lasted.as_secs_f64(),
        "own_cpu_s": report.own_cpu.as_secs_f64(),
        "server_cpu_s": report.server_cpu.map(|cpu| cpu.as_secs_f64()),
        "server_memory_before": report.server_memory.map(|(before, _)| before),
        "server_memory_after": report.server_memory.map(|(_, after)| after),
        "memory_a_participant": report.memory_a_participant(),
        "cpu_seconds_a_gigabit": report.seconds_a_gigabit(&sum),
        "all": tally(&sum, report.lasted),
        "people": people,
    });
    format!("{all:#}\n")
}

fn person(summary: &Summary, lasted: Duration) -> Value {
    let mut value = tally(&summary.tally, lasted);
    if let Value::Object(fields) = &mut value {
        fields.insert("index".into(), json!(summary.index));
        fields.insert(
            "first_picture_ms".into(),
            json!(
                summary
                    .first_picture
                    .map(|(since_welcome, _)| millis(since_welcome))
            ),
        );
        fields.insert(
            "first_picture_from_start_ms".into(),
            json!(
                summary
                    .first_picture
                    .map(|(_, since_start)| millis(since_start))
            ),
        );
        fields.insert(
            "outages_ms".into(),
            json!(
                summary
                    .outages
                    .iter()
                    .copied()
                    .map(millis)
                    .collect::<Vec<_>>()
            ),
        );
        fields.insert("watched".into(), json!(summary.watched));
        fields.insert("allotted".into(), json!(summary.allotted));
        fields.insert("changes".into(), json!(summary.changes));
        fields.insert("sound_lost_before".into(), json!(summary.sound_lost_before));
        fields.insert("failure".into(), json!(summary.failure));
    }
    value
}

fn tally(tally: &Tally, lasted: Duration) -> Value {
    json!({
        "sent_packets": tally.sent_packets,
        "sent_bps": rate(tally.sent_bytes, lasted),
        "sent_again": tally.sent_again,
        "asked_for_keyframes": tally.asked_for_keyframes,
        "refused": tally.refused,
        "pictures": counts(&tally.pictures, lasted),
        "sound": counts(&tally.sound, lasted),
        "delay": delay(&tally.delay),
    })
}

fn counts(counts: &Counts, lasted: Duration) -> Value {
    json!({
        "packets": counts.packets,
        "bps": rate(counts.bytes, lasted),
        "bytes": counts.bytes,
        "lost": counts.lost,
        "repaired": counts.repaired,
        "late": counts.late,
        "pictures": counts.pictures,
        "keyframes": counts.keyframes,
        "keyframes_asked": counts.keyframes_asked,
        "freezes": counts.freezes,
        "frozen_ms": millis(counts.frozen),
        "longest_ms": millis(counts.longest),
        "switches": counts.switches.len(),
        "switch_median_ms": of(&counts.switches, 0.5).map(millis),
        "switch_longest_ms": of(&counts.switches, 1.0).map(millis),
        "firsts": counts.first.len(),
        "first_median_ms": of(&counts.first, 0.5).map(millis),
        "first_longest_ms": of(&counts.first, 1.0).map(millis),
    })
}

fn delay(delay: &Histogram) -> Value {
    json!({
        "packets": delay.total(),
        "p50_ms": delay.quantile(0.5).map(millis),
        "p99_ms": delay.quantile(0.99).map(millis),
        "p999_ms": delay.quantile(0.999).map(millis),
        "longest_ms": millis(delay.longest()),
    })
}

fn rate(bytes: u64, lasted: Duration) -> f64 {
    (bytes as f64 * 8.0 / lasted.as_secs_f64().max(0.001)).round()
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn text(time: Option<Duration>) -> String {
    time.map_or("none".to_owned(), |time| format!("{:.1} ms", millis(time)))
}

/// A quantile of a short list.
fn of(list: &[Duration], share: f64) -> Option<Duration> {
    let mut sorted = list.to_vec();
    sorted.sort_unstable();
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied()
}
