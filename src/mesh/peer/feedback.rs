//! What arrived, on the wire: RTCP transport-wide feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1).
//!
//! ```text
//! ArrivalReport ─ write ─▶ TransportLayerCc ═ network ═▶ TransportLayerCc ─ read ─▶ number, arrival
//! ```
//! Arrivals are told in steps of 250 µs from a reference time that wraps after twelve days, and is
//! unwrapped here.

use std::time::Duration;

use nonstop_rate::{ArrivalReport, ReferenceTime};
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk,
    SymbolSizeTypeTcc, SymbolTypeTcc, TransportLayerCc,
};

/// The step of the reference time, in microseconds.
const REFERENCE_STEP: i64 = 64_000;
/// The step of an arrival, in microseconds.
const DELTA_STEP: i64 = 250;
/// The reference time has 24 bits.
const REFERENCES: i64 = 1 << 24;
/// A run at least this long is shorter as one run than as single symbols.
const LEAST_RUN: usize = 15;
/// The longest run, of 13 bits.
const MOST_RUN: usize = 0x1fff;

/// Reads feedback of one connection.
#[derive(Debug, Default)]
pub(super) struct Reader {
    reference: ReferenceTime,
}

impl Reader {
    /// Returns what a message says of each packet: its number, and when it arrived on the other
    /// side's clock or that it had not. Packets that arrived at an unknown time are left out.
    pub(super) fn read(&mut self, feedback: &TransportLayerCc) -> Vec<(u16, Option<Duration>)> {
        let reference = self.reference.unwrap(feedback.reference_time);
        let mut at = i64::try_from(reference.as_micros()).unwrap_or(i64::MAX);
        let mut deltas = feedback.recv_deltas.iter();
        let mut statuses = Vec::new();
        let symbols = (feedback.packet_chunks.iter()).flat_map(symbols);
        for (index, symbol) in (0..feedback.packet_status_count).zip(symbols) {
            let number = feedback.base_sequence_number.wrapping_add(index);
            match symbol {
                SymbolTypeTcc::PacketNotReceived => statuses.push((number, None)),
                SymbolTypeTcc::PacketReceivedWithoutDelta => {}
                _ => {
                    let Some(delta) = deltas.next() else { break };
                    at = at.saturating_add(delta.delta);
                    let micros = u64::try_from(at).unwrap_or(0);
                    statuses.push((number, Some(Duration::from_micros(micros))));
                }
            }
        }
        statuses
    }
}

fn symbols(chunk: &PacketStatusChunk) -> impl Iterator<Item = SymbolTypeTcc> {
    let (run, list) = match chunk {
        PacketStatusChunk::RunLengthChunk(run) => (
            Some((run.packet_status_symbol, usize::from(run.run_length))),
            &[][..],
        ),
        PacketStatusChunk::StatusVectorChunk(vector) => (None, &vector.symbol_list[..]),
    };
    let run = run.map(|(symbol, length)| std::iter::repeat_n(symbol, length));
    run.into_iter().flatten().chain(list.iter().copied())
}

/// Puts a report on the wire, as the `count`-th of its connection.
pub(super) fn write(report: &ArrivalReport, count: u8) -> TransportLayerCc {
    let micros = |arrival: Duration| i64::try_from(arrival.as_micros()).unwrap_or(i64::MAX);
    let first = report.arrivals.iter().flatten().next();
    let reference = first.map_or(0, |first| micros(*first) / REFERENCE_STEP);
    let mut at = reference * REFERENCE_STEP / DELTA_STEP;
    let mut deltas = Vec::new();
    let mut symbols = Vec::with_capacity(report.arrivals.len());
    for arrival in &report.arrivals {
        let Some(arrival) = arrival else {
            symbols.push(SymbolTypeTcc::PacketNotReceived);
            continue;
        };
        let steps = micros(*arrival) / DELTA_STEP;
        // What does not fit is told wrong rather than not at all: eight seconds between two packets
        // of one report say enough.
        let delta = (steps - at).clamp(i16::MIN.into(), i16::MAX.into());
        at += delta;
        let symbol = match u8::try_from(delta) {
            Ok(_) => SymbolTypeTcc::PacketReceivedSmallDelta,
            Err(_) => SymbolTypeTcc::PacketReceivedLargeDelta,
        };
        symbols.push(symbol);
        deltas.push(RecvDelta {
            type_tcc_packet: symbol,
            delta: delta * DELTA_STEP,
        });
    }
    TransportLayerCc {
        sender_ssrc: 0,
        media_ssrc: 0,
        base_sequence_number: report.first,
        packet_status_count: symbols.len() as u16,
        reference_time: (reference % REFERENCES) as u32,
        fb_pkt_count: count,
        packet_chunks: chunks(&symbols),
        recv_deltas: deltas,
    }
}

fn chunks(mut symbols: &[SymbolTypeTcc]) -> Vec<PacketStatusChunk> {
    let mut chunks = Vec::new();
    while let Some(first) = symbols.first() {
        let run = symbols.iter().take_while(|symbol| *symbol == first).count();
        let one_bit = &symbols[..symbols.len().min(14)];
        let small = !one_bit.contains(&SymbolTypeTcc::PacketReceivedLargeDelta);
        let (taken, chunk) = if run >= LEAST_RUN {
            let taken = run.min(MOST_RUN);
            let run = RunLengthChunk {
                type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                packet_status_symbol: *first,
                run_length: taken as u16,
            };
            (taken, PacketStatusChunk::RunLengthChunk(run))
        } else {
            let (symbol_size, most) = match small {
                true => (SymbolSizeTypeTcc::OneBit, 14),
                false => (SymbolSizeTypeTcc::TwoBit, 7),
            };
            let taken = symbols.len().min(most);
            let vector = StatusVectorChunk {
                type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                symbol_size,
                symbol_list: symbols[..taken].to_vec(),
            };
            (taken, PacketStatusChunk::StatusVectorChunk(vector))
        };
        chunks.push(chunk);
        symbols = &symbols[taken..];
    }
    chunks
}

#[cfg(test)]
mod tests {
    use rtc::shared::marshal::{Marshal, Unmarshal};

    use super::*;

    fn report(first: u16, arrivals: impl IntoIterator<Item = Option<u64>>) -> ArrivalReport {
        let arrivals = arrivals.into_iter();
        ArrivalReport {
            first,
            arrivals: (arrivals.map(|micros| micros.map(Duration::from_micros))).collect(),
        }
    }

    /// Writes, marshals, parses and reads; arrivals are counted from where the reader begins.
    fn through(reader: &mut Reader, report: &ArrivalReport) -> Vec<(u16, Option<u64>)> {
        let bytes = write(report, 3).marshal().expect("it can be written");
        let back = TransportLayerCc::unmarshal(&mut bytes.clone()).expect("it can be read");
        let origin = (REFERENCES * REFERENCE_STEP) as u64;
        let micros = |arrival: Duration| (arrival.as_micros() as u64).wrapping_sub(origin);
        let statuses = reader.read(&back).into_iter();
        statuses
            .map(|(number, arrival)| (number, arrival.map(micros)))
            .collect()
    }

    #[test]
    fn golden_bytes_of_a_report() {
        let report = report(65_535, [Some(64_250), None, Some(64_000), Some(200_000)]);
        let bytes = write(&report, 9).marshal().expect("it can be written");
        let golden = [
            0xaf, 205, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 4, 0, 0, 1, 9,
            // Two bits each: small, none, large, large.
            0xd2, 0x80, 1, 0xff, 0xff, 0x02, 0x20, 1,
        ];
        assert_eq!(bytes[..], golden);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut many: Vec<_> = (0..400).map(|index| Some(index * 4_000)).collect();
        many[7] = None;
        many[100..150].fill(None);
        many[200] = Some(5_000_000);
        for arrivals in [vec![Some(0)], vec![None, Some(70_250)], many] {
            let report = report(65_500, arrivals);
            let read = through(&mut Reader::default(), &report);
            assert_eq!(read.len(), report.arrivals.len());
            for (index, ((number, read), sent)) in
                read.into_iter().zip(&report.arrivals).enumerate()
            {
                assert_eq!(number, 65_500_u16.wrapping_add(index as u16));
                assert_eq!(read, sent.map(|sent| sent.as_micros() as u64));
            }
        }
    }

    #[test]
    fn the_clock_of_the_other_side_may_wrap() {
        let mut reader = Reader::default();
        let wrap = (REFERENCES * REFERENCE_STEP) as u64;
        let mut last = None;
        for at in [
            wrap - 100_000,
            wrap - 1_000,
            wrap + 2_000,
            wrap - 500,
            wrap + 300_000,
        ] {
            let read = through(&mut reader, &report(1, [Some(at)]));
            let read = read[0].1.expect("it arrived") as i64;
            if let Some((last_at, last_read)) = last {
                assert_eq!(read - last_read, at as i64 - last_at);
            }
            last = Some((at as i64, read));
        }
    }

    #[test]
    fn a_message_that_contradicts_itself_is_read_as_far_as_it_goes() {
        let run = |length| {
            PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                packet_status_symbol: SymbolTypeTcc::PacketReceivedSmallDelta,
                run_length: length,
            })
        };
        let mut feedback = write(&report(0, [Some(0), Some(250)]), 0);
        feedback.packet_chunks = vec![run(8_000); 1_000];
        assert_eq!(Reader::default().read(&feedback).len(), 2);
        feedback.packet_status_count = u16::MAX;
        assert_eq!(Reader::default().read(&feedback).len(), 2);
        feedback.recv_deltas[0].delta = i64::MIN;
        assert_eq!(Reader::default().read(&feedback).len(), 2);
    }
}
