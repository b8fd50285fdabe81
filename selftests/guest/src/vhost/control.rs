// SPDX-License-Identifier: GPL-2.0

//! A network driver in userspace: the control queue.

use super::{Net, Queue, PATIENCE};
use crate::{
    fail,
    outcome::{Outcome, While},
};
use rvdpa_virtio::{
    mock::{Buffer, DriverMemory, Form, Used},
    net::control,
};

/// Where the command's data are, from the start of the queue's buffers.
pub const DATA: u64 = 64;
/// Where the result is.
pub const RESULT: u64 = 0x4000;
/// Where the answer is.
pub const ANSWER: u64 = 0x8000;
/// How many bytes the queue's buffers have.
pub(super) const LEN: usize = 0x9000;

/// What the answer's byte is before the device has written it.
pub const NO_ANSWER: u8 = 0xee;

/// What the device said to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `OK` or `ERR`.
    pub answer: u8,
    /// The result behind it, as far as the device has written it.
    pub result: Vec<u8>,
}

impl Net {
    /// The control queue.
    pub fn control(&mut self) -> Outcome<&mut Queue> {
        self.control.as_mut().when("a control queue")
    }

    /// Shows the device a chain of the control queue, whatever it is; addresses are from
    /// the start of the queue's buffers on.
    pub fn submit(&mut self, buffers: &[Buffer]) -> Outcome {
        let control = self.control()?;
        let start = control.buffers;
        let buffers: Vec<Buffer> = buffers
            .iter()
            .map(|buffer| Buffer {
                iova: start + buffer.iova,
                ..*buffer
            })
            .collect();
        if control.driver.add(&buffers, Form::Direct).is_err() {
            fail!("no room in the control queue");
        }
        control.driver.publish();
        control.kick_if_needed()
    }

    /// Waits until the device has used a chain of the control queue.
    pub fn wait_control(&mut self) -> Outcome<Used> {
        let control = self.control()?;
        loop {
            if let Some(used) = control.take_used() {
                return Ok(used);
            }
            if !control.wait_used()? {
                fail!(
                    "no answer from control queue {} within {} s",
                    control.index,
                    PATIENCE.as_secs()
                );
            }
        }
    }

    /// Writes to the control queue's buffers, and sets the answer back.
    pub fn write_command(&mut self, class: u8, command: u8, data: &[u8]) -> Outcome {
        assert!(data.len() as u64 <= RESULT - DATA, "no room for the data");
        let start = self.control()?.buffers;
        let memory = self.control_memory.clone();
        memory.write(start, &[class, command]);
        memory.write(start + DATA, data);
        memory.write(start + ANSWER, &[NO_ANSWER]);
        Ok(())
    }

    /// Sends a command of the control queue with room for a result (5.1.6.5).
    pub fn query(&mut self, class: u8, command: u8, data: &[u8], room: usize) -> Outcome<Reply> {
        self.write_command(class, command, data)?;
        let mut buffers = vec![Buffer::readable(0, control::HEADER_LEN as u32)];
        if !data.is_empty() {
            buffers.push(Buffer::readable(DATA, data.len() as u32));
        }
        buffers.push(Buffer::writable(ANSWER, 1));
        if room > 0 {
            buffers.push(Buffer::writable(RESULT, room as u32));
        }
        self.submit(&buffers)?;
        let used = self.wait_control()?;
        let written = used.len as usize;
        let start = self.control()?.buffers;
        let mut answer = [0];
        self.control_memory.read(start + ANSWER, &mut answer);
        if !(1..=1 + room).contains(&written) || answer[0] == NO_ANSWER {
            fail!("answer {:#x}, {written} bytes written", answer[0]);
        }
        let mut result = vec![0; written - 1];
        self.control_memory.read(start + RESULT, &mut result);
        Ok(Reply {
            answer: answer[0],
            result,
        })
    }

    /// Sends a command of the control queue. Returns the answer.
    pub fn command(&mut self, class: u8, command: u8, data: &[u8]) -> Outcome<u8> {
        Ok(self.query(class, command, data, 0)?.answer)
    }

    /// Sends a command that must be carried out.
    pub fn do_command(&mut self, class: u8, command: u8, data: &[u8]) -> Outcome {
        match self.command(class, command, data)? {
            control::OK => Ok(()),
            answer => fail!("answer {answer} to command {class}/{command} with {data:x?}"),
        }
    }

    /// Sends a command that must be refused.
    pub fn refuse_command(&mut self, class: u8, command: u8, data: &[u8]) -> Outcome {
        match self.command(class, command, data)? {
            control::ERR => Ok(()),
            answer => fail!("answer {answer} to command {class}/{command} with {data:x?}"),
        }
    }

    /// Uses so many queue pairs.
    pub fn use_pairs(&mut self, pairs: u16) -> Outcome {
        let class = control::mq::CLASS;
        self.do_command(class, control::mq::VQ_PAIRS_SET, &pairs.to_le_bytes())
            .when(format_args!("{pairs} queue pairs"))
    }
}
