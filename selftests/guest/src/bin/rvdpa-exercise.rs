// SPDX-License-Identifier: GPL-2.0

//! Has frames looped by a device, and says how it went.

use rvdpa_guest::{
    arena::Kind,
    check, frame,
    meter::Meter,
    netdev,
    outcome::{Outcome, Stop, While},
    packet::{self, Socket},
    vhost::{LoopPlan, Net, Plan},
};
use rvdpa_virtio::status::Status;
use std::{
    collections::BTreeMap,
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

const USAGE: &str = "\
Usage: rvdpa-exercise ping --dev INTERFACE [--count N] [--size BYTES]
       rvdpa-exercise flood --dev INTERFACE [--count N] [--size BYTES] [--in-flight N]
       rvdpa-exercise vhost-loop DEVICE [--count N] [--size BYTES] [--in-flight N]
                                        [--ring N] [--memory anonymous|shared]

ping        sends frames to the interface's own MAC address, one after the other, and
            measures how long each takes to come back
flood       the same with many on the way, and measures how many come back a second
vhost-loop  drives a device such as /dev/vhost-vdpa-0 from userspace: negotiates, sets
            up queues, has frames looped and checks them; needs no interface

  --count N       how many frames (default 1000)
  --size BYTES    of a frame with its Ethernet header (default 64)
  --in-flight N   how many may be on the way (default 64; vhost-loop: 1)
  --ring N        descriptors of a virtqueue (default 256)
  --memory KIND   what the device is shown: anonymous memory (default), or shared
                  memory of a file, which a module loaded with use_va=1 wants

The frames are of the type 0x88b5. Must run as root. Ends with 1 if a frame was lost.
";

/// What the user said.
struct Options {
    words: BTreeMap<String, String>,
    device: Option<String>,
}

impl Options {
    /// Takes words apart; only options of `known` will do.
    fn parse(words: impl Iterator<Item = String>, known: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            words: BTreeMap::new(),
            device: None,
        };
        let mut words = words;
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                Some(name) if known.contains(&name) => {
                    let value = words.next().ok_or(format!("--{name} needs a value"))?;
                    options.words.insert(name.to_owned(), value);
                }
                Some(_) => return Err(format!("unknown option {word}")),
                None if options.device.is_none() && known.contains(&"DEVICE") => {
                    options.device = Some(word);
                }
                None => return Err(format!("what is '{word}'?")),
            }
        }
        Ok(options)
    }

    fn text(&self, name: &str) -> Result<&str, String> {
        let value = self.words.get(name).ok_or(format!("--{name} is missing"))?;
        Ok(value)
    }

    /// A number within limits, or `default`.
    fn number(&self, name: &str, default: u64, least: u64, most: u64) -> Result<u64, String> {
        let Some(value) = self.words.get(name) else {
            return Ok(default);
        };
        match value.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(format!(
                "--{name} {value}: give a number from {least} to {most}"
            )),
        }
    }

    fn count(&self) -> Result<u64, String> {
        self.number("count", 1000, 1, u64::MAX)
    }

    /// Bytes of a frame, with room for its number.
    fn size(&self) -> Result<usize, String> {
        let size = self.number("size", 64, frame::HEADER as u64 + 8, 65549)?;
        Ok(size as usize)
    }
}

/// Why it did not work.
enum Failure {
    /// The user said something odd.
    Usage(String),
    Other(Stop),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Usage(text)
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Self::Other(stop)
    }
}

fn main() -> ExitCode {
    match run(env::args().skip(1)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failure::Usage(text)) => {
            eprintln!("rvdpa-exercise: {text}\nTry rvdpa-exercise --help.");
            ExitCode::from(2)
        }
        Err(Failure::Other(stop)) => {
            eprintln!("rvdpa-exercise: {}", stop.text());
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all frames came back.
fn run(mut words: impl Iterator<Item = String>) -> Result<bool, Failure> {
    let command = words.next().unwrap_or_else(|| "--help".into());
    let words: Vec<String> = words.collect();
    if [command.as_str(), words.first().map_or("", String::as_str)]
        .iter()
        .any(|word| matches!(*word, "-h" | "--help"))
    {
        print!("{USAGE}");
        return Ok(true);
    }
    let words = words.into_iter();
    match command.as_str() {
        "ping" => {
            let options = Options::parse(words, &["dev", "count", "size"])?;
            Ok(ping(
                options.text("dev")?,
                options.count()?,
                options.size()?,
            )?)
        }
        "flood" => {
            let options = Options::parse(words, &["dev", "count", "size", "in-flight"])?;
            let in_flight = options.number("in-flight", 64, 1, 65536)?;
            Ok(flood(
                options.text("dev")?,
                options.count()?,
                options.size()?,
                in_flight as usize,
            )?)
        }
        "vhost-loop" => {
            let known = ["DEVICE", "count", "size", "in-flight", "ring", "memory"];
            let options = Options::parse(words, &known)?;
            let device = options
                .device
                .clone()
                .ok_or("which device? give one such as /dev/vhost-vdpa-0".to_owned())?;
            let ring = options.number("ring", 256, 2, 32768)?;
            if !ring.is_power_of_two() {
                return Err(format!("--ring {ring}: give a power of two").into());
            }
            let size = options.size()?;
            let plan = Plan {
                size: ring as u16,
                room: (size + 12).next_multiple_of(2048),
                kind: match options
                    .words
                    .get("memory")
                    .map_or("anonymous", String::as_str)
                {
                    "anonymous" => Kind::Anonymous,
                    "shared" => Kind::Shared,
                    other => return Err(format!("--memory {other}: anonymous or shared").into()),
                },
                ..Plan::default()
            };
            let what = LoopPlan {
                count: options.count()?,
                size,
                in_flight: options.number("in-flight", 1, 1, 32768)?,
            };
            vhost_loop(&device, plan, what)?;
            Ok(true)
        }
        other => Err(format!("unknown command {other}").into()),
    }
}

fn times(meter: &mut Meter) -> String {
    format!(
        "round trip median {:.0} us, p99 {:.0} us",
        meter.percentile(50),
        meter.percentile(99)
    )
}

fn ping(interface: &str, count: u64, size: usize) -> Outcome<bool> {
    let mac = netdev::mac(interface)?;
    netdev::wait_up(interface)?;
    let mut socket = Socket::open(interface, 65536)?;
    let mut meter = Meter::default();
    let mut sent_frame = frame::make(size, mac, mac, 0);
    for number in 0..count {
        frame::fill(&mut sent_frame, mac, mac, number);
        let start = Instant::now();
        socket.send(&sent_frame)?;
        // An older one may come late; then it was counted as lost already.
        loop {
            let frames = socket.receive()?;
            if frames.is_empty() {
                break;
            }
            let Some(got) = frames
                .into_iter()
                .find(|got| frame::number(got) == Some(number))
            else {
                continue;
            };
            let difference = frame::difference(got, &sent_frame);
            check!(
                difference.is_none(),
                "frame {number}: {}",
                difference.unwrap_or_default()
            );
            meter.add(start.elapsed());
            break;
        }
    }
    let lost = count - meter.count() as u64;
    println!(
        "{interface}: {count} frames of {size} bytes sent, {} came back, {lost} lost; {}",
        meter.count(),
        times(&mut meter)
    );
    Ok(lost == 0)
}

fn flood(interface: &str, count: u64, size: usize, in_flight: usize) -> Outcome<bool> {
    let mac = netdev::mac(interface)?;
    netdev::wait_up(interface)?;
    let start = Instant::now();
    let flood = packet::flood(interface, mac, count, size, in_flight)?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{interface}: {} frames of {size} bytes sent, {} came back, {} lost, {} out of order; \
         {seconds:.2} s, {:.0} frames/s",
        flood.sent,
        flood.received,
        flood.sent - flood.received,
        flood.disordered,
        flood.received as f64 / seconds
    );
    Ok(flood.received == count && flood.disordered == 0)
}

fn vhost_loop(device: &str, plan: Plan, what: LoopPlan) -> Outcome {
    let mut net = Net::new(device, plan)?;
    println!(
        "{device}: negotiated features {:#x}; {} rings of {}, MAC {}",
        net.client.features().0,
        net.format().name(),
        plan.size,
        frame::display(net.mac)
    );
    let start = Instant::now();
    let looped = net.loop_frames(what);
    if net.client.status()?.contains(Status::NEEDS_RESET) {
        let hint = "the device stopped a queue; the kernel log says why (if memory is not \
                    mapped and the module has use_va=1, try --memory shared)";
        return looped.map(drop).when(hint);
    }
    let mut meter = looped?;
    let time: Duration = start.elapsed();
    print!(
        "{device}: {} frames of {} bytes sent and came back as they were, 0 lost; ",
        what.count, what.size
    );
    if meter.count() > 0 {
        println!("{}", times(&mut meter));
    } else {
        println!(
            "{:.2} s, {:.0} frames/s",
            time.as_secs_f64(),
            what.count as f64 / time.as_secs_f64()
        );
    }
    Ok(())
}
