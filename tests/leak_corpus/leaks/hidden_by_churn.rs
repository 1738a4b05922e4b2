//! Of a hundred response buffers ninety-nine are freed at once; the last one stays in a list of responses to send
//! again: 50 KiB/s of 5 MiB/s, at the same place in the code.

use crate::common::Random;
use crate::run::Run;

const RESPONSES_A_TICK: usize = 100;
const RESPONSE: usize = 1024;

#[derive(Debug, Default)]
struct Responder {
    /// The bug: these are sent again once a client asks, and none ever does.
    to_send_again: Vec<Vec<u8>>,
    sent: usize,
}

impl Responder {
    fn respond(&mut self, is_lost: bool, byte: u8) {
        let response = response_buffer(byte);
        self.sent += response.len();
        if is_lost {
            self.to_send_again.push(response);
        }
    }
}

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    let mut responder = Responder::default();
    for tick in run.ticks() {
        let lost = random.within(0..RESPONSES_A_TICK);
        for response in 0..RESPONSES_A_TICK {
            responder.respond(response == lost, tick as u8);
        }
    }
    assert!(responder.sent >= responder.to_send_again.len() * RESPONSES_A_TICK * RESPONSE);
}

#[inline(never)]
fn response_buffer(byte: u8) -> Vec<u8> {
    let mut response = vec![byte; RESPONSE];
    // Something after the call, or optimized code would jump there and leave no frame of this function.
    response[..4].copy_from_slice(b"HTTP");
    response
}
