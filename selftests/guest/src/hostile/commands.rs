// SPDX-License-Identifier: GPL-2.0

//! Commands that are none, and chains in which there can be no answer.

use super::{
    avail::CVQ,
    case::{Case, Expect::*},
    scene::Scene,
};
use crate::{
    check_eq,
    outcome::{Outcome, While},
    vhost::control::{ANSWER, DATA},
};
use rvdpa_virtio::{
    features::Features,
    mock::{Buffer, DriverMemory, Form},
    net::control::{mac, mq, offloads, rx, vlan, ERR, OK},
};

/// Where nothing is mapped, from the start of the queue's buffers on.
const NOWHERE: u64 = 0x1_2340_0000;

const NO_ANSWER: &str = "command without a writable byte for the answer";

pub const CASES: &[Case] = &[
    chain(
        "reading after writing",
        "read-only after a write-only one",
        |s| {
            submit(
                s,
                &[
                    Buffer::readable(0, 2),
                    Buffer::writable(ANSWER, 1),
                    Buffer::readable(DATA, 6),
                ],
            )
        },
    ),
    chain("no room for an answer", NO_ANSWER, |s| {
        submit(s, &[Buffer::readable(0, 2), Buffer::readable(DATA, 6)])
    }),
    chain("an answer for reading", NO_ANSWER, |s| {
        submit(
            s,
            &[
                Buffer::readable(0, 2),
                Buffer::readable(DATA, 6),
                Buffer::readable(ANSWER, 1),
            ],
        )
    }),
    chain("an answer of no bytes", NO_ANSWER, |s| {
        submit(
            s,
            &[
                Buffer::readable(0, 2),
                Buffer::readable(DATA, 6),
                Buffer::writable(ANSWER, 0),
            ],
        )
    }),
    chain("an empty command", NO_ANSWER, |s| {
        submit(s, &[Buffer::readable(0, 0)])
    }),
    chain("an answer that is not mapped", "not mapped", |s| {
        submit(
            s,
            &[
                Buffer::readable(0, 2),
                Buffer::readable(DATA, 6),
                Buffer::writable(NOWHERE, 1),
            ],
        )
    }),
    chain("a command that is not mapped", "not mapped", |s| {
        submit(
            s,
            &[Buffer::readable(NOWHERE, 2), Buffer::writable(ANSWER, 1)],
        )
    }),
    chain("data that are not mapped", "not mapped", |s| {
        submit(
            s,
            &[
                Buffer::readable(0, 2),
                Buffer::readable(NOWHERE, 6),
                Buffer::writable(ANSWER, 1),
            ],
        )
    }),
];

const fn chain(name: &'static str, text: &'static str, act: fn(&mut Scene<'_>) -> Outcome) -> Case {
    Case::run(18, name, Fault(CVQ, text), act)
}

/// A command to set the device's address, in a chain of these buffers.
fn submit(s: &mut Scene<'_>, buffers: &[Buffer]) -> Outcome {
    s.net
        .write_command(mac::CLASS, mac::ADDR_SET, &[2, 0, 0, 0, 0, 9])?;
    s.net.submit(buffers)
}

pub const ANSWERS: &[Case] = &[
    answer("only the class of a command", |s| {
        s.net.write_command(mac::CLASS, 0, &[])?;
        asked(s, &[Buffer::readable(0, 1), Buffer::writable(ANSWER, 1)])
    }),
    answer("a command of no bytes that wants an answer", |s| {
        s.net.write_command(mac::CLASS, 0, &[])?;
        asked(s, &[Buffer::writable(ANSWER, 1)])
    }),
    answer("an unknown class", |s| refused(s, 77, 0, &[])),
    answer("an unknown command", |s| refused(s, mac::CLASS, 9, &[0; 8])),
    answer("half an address", |s| {
        refused(s, mac::CLASS, mac::ADDR_SET, &[2, 0, 0])
    }),
    answer("an address and more", |s| {
        refused(s, mac::CLASS, mac::ADDR_SET, &[2, 0, 0, 0, 0, 9, 9])
    }),
    answer("the address of a group", |s| {
        refused(s, mac::CLASS, mac::ADDR_SET, &[1, 0, 0x5e, 0, 0, 1])
    }),
    answer("no address but zero", |s| {
        refused(s, mac::CLASS, mac::ADDR_SET, &[0; 6])
    }),
    answer("tables of more addresses than there are", |s| {
        refused(
            s,
            mac::CLASS,
            mac::TABLE_SET,
            &[2, 0, 0, 0, 2, 0, 0, 0, 0, 7],
        )
    }),
    answer("tables of as many addresses as can be", |s| {
        refused(s, mac::CLASS, mac::TABLE_SET, &[0xff; 16])
    }),
    answer(
        "tables of so many addresses that their length is small",
        |s| {
            // Six times this is 2 in 32 bits.
            refused(
                s,
                mac::CLASS,
                mac::TABLE_SET,
                &[0xab, 0xaa, 0xaa, 0xaa, 0, 0, 0, 0],
            )
        },
    ),
    answer("half a table", |s| {
        refused(s, mac::CLASS, mac::TABLE_SET, &[0, 0, 0])
    }),
    answer("VLAN 4096", |s| {
        refused(s, vlan::CLASS, vlan::ADD, &[0, 0x10])
    }),
    answer("VLAN 65535", |s| {
        refused(s, vlan::CLASS, vlan::DEL, &[0xff, 0xff])
    }),
    answer("a mode without data", |s| {
        refused(s, rx::CLASS, rx::PROMISC, &[])
    }),
    answer("offloads that were not negotiated", |s| {
        refused(s, offloads::CLASS, offloads::SET, &[0xff; 8])
    }),
    answer("no queue pairs", |s| {
        refused(s, mq::CLASS, mq::VQ_PAIRS_SET, &[0, 0])
    })
    .needs(Features::NET_MQ),
    answer("more queue pairs than there are", |s| {
        for pairs in [3_u16, 0x8000, 0xffff] {
            refused(s, mq::CLASS, mq::VQ_PAIRS_SET, &pairs.to_le_bytes())?;
        }
        Ok(())
    })
    .needs(Features::NET_MQ),
    answer("a steering table that is too long", |s| {
        rss(s, 255, &[0; 256], 40)
    })
    .needs(Features(Features::NET_RSS.0 | Features::NET_MQ.0)),
    answer("a steering table whose length is no power of two", |s| {
        rss(s, 2, &[0; 3], 40)
    })
    .needs(Features(Features::NET_RSS.0 | Features::NET_MQ.0)),
    answer("a steering table that is longer than its command", |s| {
        rss(s, 127, &[0; 4], 40)
    })
    .needs(Features(Features::NET_RSS.0 | Features::NET_MQ.0)),
    answer("a queue in a steering table that there is not", |s| {
        rss(s, 1, &[0, 9], 40)
    })
    .needs(Features(Features::NET_RSS.0 | Features::NET_MQ.0)),
    answer("a key that is too long", |s| rss(s, 1, &[0, 1], 41))
        .needs(Features(Features::NET_RSS.0 | Features::NET_MQ.0)),
    answer("a refused command behind one that was done", |s| {
        let own = s.net.mac;
        let done = s.net.command(mac::CLASS, mac::ADDR_SET, &own)?;
        check_eq!(done, OK, "answer to a good command");
        // In one kick, so that the device handles them in a row.
        let start = s.net.control()?.buffers;
        let memory = s.net.control_memory.clone();
        memory.write(start, &[mac::CLASS, mac::ADDR_SET]);
        memory.write(start + DATA, &own);
        memory.write(start + 0x100, &[77, 0]);
        memory.write(start + ANSWER, &[0xee, 0xee]);
        let control = s.net.control()?;
        let chains = [
            vec![
                Buffer::readable(start, 2),
                Buffer::readable(start + DATA, 6),
                Buffer::writable(start + ANSWER, 1),
            ],
            vec![
                Buffer::readable(start + 0x100, 2),
                Buffer::writable(start + ANSWER + 1, 1),
            ],
        ];
        for chain in &chains {
            control
                .driver
                .add(chain, Form::Direct)
                .map_err(|error| std::io::Error::other(format!("{error:?}")))?;
        }
        control.driver.publish();
        control.kick()?;
        for _ in &chains {
            s.net.wait_control()?;
        }
        let mut answers = [0; 2];
        memory.read(start + ANSWER, &mut answers);
        check_eq!(answers, [OK, ERR], "answers");
        Ok(())
    }),
    answer("a command of 4 KiB and more", |s| {
        refused(s, mac::CLASS, mac::TABLE_SET, &[0; 8000])
    }),
    answer("a ring full of commands in one kick", |s| {
        let start = s.net.control()?.buffers;
        s.net.write_command(77, 0, &[])?;
        let control = s.net.control()?;
        let mut count = 0;
        let chain = [
            Buffer::readable(start, 2),
            Buffer::writable(start + ANSWER, 1),
        ];
        while control.driver.add(&chain, Form::Direct).is_ok() {
            count += 1;
        }
        control.driver.publish();
        control.kick()?;
        for number in 0..count {
            s.net.wait_control().when(format_args!("answer {number}"))?;
        }
        Ok(())
    }),
];

/// A command that is answered, and behind which the device goes on.
const fn answer(name: &'static str, act: fn(&mut Scene<'_>) -> Outcome) -> Case {
    Case::run(18, name, GoesOn, act).needs(Features::NET_CTRL_VQ)
}

/// A chain that has to be answered with an error.
fn asked(s: &mut Scene<'_>, buffers: &[Buffer]) -> Outcome {
    s.net.submit(buffers)?;
    s.net.wait_control()?;
    let at = s.net.control()?.buffers + ANSWER;
    let mut answer = [0];
    s.net.control_memory.read(at, &mut answer);
    check_eq!(answer[0], ERR, "answer");
    works(s)
}

/// A command that has to be answered with an error, and that changes nothing.
fn refused(s: &mut Scene<'_>, class: u8, command: u8, data: &[u8]) -> Outcome {
    let before = s.net.client.config()?;
    let answer = s.net.command(class, command, data)?;
    check_eq!(answer, ERR, "answer");
    check_eq!(s.net.client.config()?, before, "configuration");
    works(s)
}

/// The next good command is done.
fn works(s: &mut Scene<'_>) -> Outcome {
    let own = s.net.mac;
    s.net.do_command(mac::CLASS, mac::ADDR_SET, &own)
}

/// A command to steer by hash, with a table that says that it has `last + 1` entries.
fn rss(s: &mut Scene<'_>, last: u16, table: &[u16], key: usize) -> Outcome {
    let mut data = 0_u32.to_le_bytes().to_vec();
    data.extend(last.to_le_bytes());
    data.extend([0; 2]);
    for entry in table {
        data.extend(entry.to_le_bytes());
    }
    data.extend(1_u16.to_le_bytes());
    data.push(key as u8);
    data.extend(vec![0x5a; key]);
    refused(s, mq::CLASS, mq::RSS_CONFIG, &data)
}
