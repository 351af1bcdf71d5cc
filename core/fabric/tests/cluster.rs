//! A real Redis Cluster.

mod node;
mod redis;

use std::time::Duration;

use fulmar_fabric::{Kind, Topic};

use node::Node;
use redis::{Cluster, until};

#[test]
fn nodes_at_different_members_of_a_cluster_hear_each_other_also_when_one_dies() {
    let mut cluster = Cluster::start();
    let nodes: Vec<Node> = cluster.nodes.iter().map(|redis| Node::start(&redis.url())).collect();
    let everyone = |number: usize| {
        for node in &nodes {
            assert!(until(|| node.fabric.status().is_ready()));
        }
        for sender in &nodes {
            for kind in [Kind::Room, Kind::Broadcast] {
                sender.send(kind, "lobby", &number.to_string());
            }
        }
        for (index, node) in nodes.iter().enumerate() {
            // Two from each of the two others.
            let mut got = node.take(4);
            got.sort();
            let expected =
                [format!("Broadcast  event {number}"), format!("Room lobby event {number}")];
            let expected = [&expected[0], &expected[0], &expected[1], &expected[1]];
            assert_eq!(got.iter().collect::<Vec<_>>(), expected, "node {index}");
        }
    };
    for node in &nodes {
        node.fabric.subscribe(Topic::Room("lobby".into()));
        node.subscribed(2);
    }
    everyone(1);
    // Its fabric was given one address only: the others are learned.
    cluster.nodes[0].kill();
    let fabric = &nodes[0].fabric;
    assert!(until(|| !fabric.status().is_ready() || fabric.counters().reconnects == 2));
    assert!(fabric.wait_until_ready(Duration::from_secs(5)));
    assert!(until(|| fabric.counters().reconnects == 2));
    let address = fabric.status().subscriber_address.unwrap();
    assert!(*address == *cluster.nodes[1].url() || *address == *cluster.nodes[2].url());
    everyone(2);
    for node in &nodes[1..] {
        assert_eq!(node.fabric.counters().reconnects, 0);
    }
}
