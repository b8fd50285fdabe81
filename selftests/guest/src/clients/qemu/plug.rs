// SPDX-License-Identifier: GPL-2.0

//! Cards that come and go while the machine runs.

use super::{test, with_machine, ClientTest, Network};
use crate::{
    check, frame,
    harness::Context,
    outcome::{Outcome, While},
    qemu::{Net, Setup, DRIVER},
    vhost::Client,
};
use serde_json::json;

pub const TESTS: &[ClientTest] = &[test("qemu.hotplug", hotplug)];

/// The slot that the card is put into.
const SLOT: u8 = 5;
/// Where the machine is told that a slot may be emptied, a bit for each.
const EJECT: u16 = 0xae08;

fn hotplug(context: &mut Context) -> Outcome {
    let mut network = Network::new(context, |new| new)?;
    let path = network.path.clone();
    let mac = frame::display(network.mac);
    // Without a card at first.
    let setup = Setup {
        path: String::new(),
        ..network.machine("plug")
    };
    with_machine(context, &setup, |context, machine| {
        for round in 0..3 {
            context.step(format_args!("round {round}: plugging"));
            let qmp = &mut machine.qmp;
            let backend = json!({ "type": "vhost-vdpa", "id": "net", "vhostdev": path });
            qmp.execute("netdev_add", backend)?;
            let card = json!({
                "driver": "virtio-net-pci", "id": "card", "netdev": "net", "romfile": "",
                "mac": mac, "bus": "pci.0", "addr": format!("{SLOT:#x}"),
            });
            qmp.execute("device_add", card)?;
            let mut net = Net::new(machine, DRIVER, 1)?;
            check!(net.pci.slot == SLOT, "the card is in slot {}", net.pci.slot);
            network.pass(&mut net, 100)?;
            context.step(format_args!("round {round}: unplugging"));
            // While it runs.
            machine.qmp.execute("device_del", json!({ "id": "card" }))?;
            machine.qtest.outl(EJECT, 1 << SLOT)?;
            machine.qmp.wait_event("DEVICE_DELETED")?;
            machine.qmp.execute("netdev_del", json!({ "id": "net" }))?;
            // Nobody has it any more.
            drop(Client::open_only(&path).when("the device afterwards")?);
        }
        context.exercised("3 times netdev_add, device_add, frames, device_del, netdev_del");
        Ok(())
    })?;
    network.delete()
}
