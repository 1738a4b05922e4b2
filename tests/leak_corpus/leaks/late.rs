//! Tracing that is switched on after 60% of the run, and whose spans nobody flushes: nothing until then, 300 KiB/s
//! from then on.

use crate::run::{Run, TICKS};

const SPANS_A_TICK: u64 = 6;
const REQUESTS_A_TICK: u64 = 10;
const ON: u64 = TICKS * 6 / 10;

#[derive(Debug)]
struct Span {
    _start: u64,
    fields: Vec<u8>,
}

#[derive(Debug, Default)]
struct Tracer {
    is_on: bool,
    spans: Vec<Span>,
}

impl Tracer {
    /// The bug: the exporter that would take the spans away is not configured.
    #[inline(never)]
    fn record_span(&mut self, start: u64) {
        if self.is_on {
            self.spans.push(Span { _start: start, fields: vec![b's'; 1024] });
        }
    }
}

pub fn serve(run: &Run) {
    let mut tracer = Tracer::default();
    let mut pages = std::collections::VecDeque::new();
    for tick in run.ticks() {
        tracer.is_on = tick >= ON;
        for request in 0..REQUESTS_A_TICK {
            pages.push_back(render_page(request));
        }
        // Pages are in flight for a while.
        pages.drain(..pages.len().saturating_sub(200));
        for span in 0..SPANS_A_TICK {
            tracer.record_span(tick * SPANS_A_TICK + span);
        }
    }
    assert!(tracer.spans.iter().all(|span| !span.fields.is_empty()));
}

#[inline(never)]
fn render_page(number: u64) -> Vec<u8> {
    vec![number as u8; 4096]
}
