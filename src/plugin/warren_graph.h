/*
 * Warren as nodes of DPDK's graph library. libwarren_graph.so, loaded by EAL's -d or linked, registers them; this header puts them into a
 * program's graphs. docs/plugin.md is the manual. Needs ALLOW_EXPERIMENTAL_API, as rte_graph does.
 *
 * A graph is a worker's. It has three nodes, named after it, whose edge P leads to the node that sends out of the host file's port P:
 *
 *   warren-instance-GRAPH  takes what comes from instances, services, gateways and routing daemons
 *   warren-uplink-GRAPH    takes what comes from the underlay
 *   warren-poll-GRAPH      a source: what other workers and the management thread have to send
 */
#ifndef WARREN_GRAPH_H
#define WARREN_GRAPH_H

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_config.h>
#include <rte_graph.h>
#include <rte_memzone.h>

#include <warren.h>

/* Where the nodes of a graph find what they need; the graph's name has at most so many characters. */
#define WARREN_GRAPH_ZONE "warren-%.24s"
#define WARREN_GRAPH_NAME 24

struct warren_graph {
	struct warren_worker *worker;
	/* By device, which mbufs name: the port of the host file, or UINT16_MAX. */
	uint16_t ports[RTE_MAX_ETHPORTS];
};

static const char *const warren_graph_nodes[] = {"warren-instance", "warren-uplink", "warren-poll"};

/*
 * Makes the nodes of a graph that is created after, or anew after it was destroyed. devices[P] is the device of the host file's port P;
 * "ethdev_tx-DEVICE" sends to it. A packet of any other device ends the program. Returns 0, or a negative errno: ENOENT where
 * libwarren_graph.so is not loaded, or there is no ethdev_tx node (rte_node_eth_config()).
 */
static inline int warren_graph_bind(const char *graph, struct warren_worker *worker, const uint16_t *devices,
		uint16_t ports)
{
	char name[RTE_NODE_NAMESIZE], names[RTE_MAX_ETHPORTS][RTE_NODE_NAMESIZE];
	const char *edges[RTE_MAX_ETHPORTS];
	const struct rte_memzone *zone;
	struct warren_graph *bound;
	uint16_t port;

	if (ports > RTE_MAX_ETHPORTS || strlen(graph) > WARREN_GRAPH_NAME)
		return -EINVAL;
	snprintf(name, sizeof(name), WARREN_GRAPH_ZONE, graph);
	zone = rte_memzone_lookup(name);
	if (zone == NULL)
		zone = rte_memzone_reserve(name, sizeof(*bound), SOCKET_ID_ANY, 0);
	if (zone == NULL)
		return -ENOMEM;
	bound = (struct warren_graph *)zone->addr;
	bound->worker = worker;
	memset(bound->ports, 0xff, sizeof(bound->ports));
	for (port = 0; port < ports; port++) {
		if (devices[port] >= RTE_MAX_ETHPORTS)
			return -EINVAL;
		bound->ports[devices[port]] = port;
		snprintf(names[port], sizeof(names[port]), "ethdev_tx-%u", devices[port]);
		edges[port] = names[port];
		if (rte_node_from_name(names[port]) == RTE_NODE_ID_INVALID)
			return -ENOENT;
	}
	for (size_t i = 0; i < sizeof(warren_graph_nodes) / sizeof(warren_graph_nodes[0]); i++) {
		rte_node_t original = rte_node_from_name(warren_graph_nodes[i]), node;

		if (original == RTE_NODE_ID_INVALID)
			return -ENOENT;
		/* Nodes are never removed. */
		snprintf(name, sizeof(name), "%s-%s", warren_graph_nodes[i], graph);
		node = rte_node_from_name(name);
		if (node == RTE_NODE_ID_INVALID)
			node = rte_node_clone(original, graph);
		if (node == RTE_NODE_ID_INVALID || rte_node_edge_update(node, 0, edges, ports) != ports)
			return -EINVAL;
	}
	return 0;
}

/* Has a node that receives, such as "ethdev_rx-0-0", give all packets to the graph's: by the role of their port. */
static inline int warren_graph_receive(const char *receiving, const char *graph, uint32_t role)
{
	char name[RTE_NODE_NAMESIZE];
	const char *edge = name;
	rte_node_t node = rte_node_from_name(receiving);
	rte_edge_t count, i;

	if (node == RTE_NODE_ID_INVALID)
		return -ENOENT;
	snprintf(name, sizeof(name), "%s-%s", warren_graph_nodes[role == WARREN_ROLE_UPLINK], graph);
	count = rte_node_edge_count(node);
	for (i = 0; i < count; i++)
		if (rte_node_edge_update(node, i, &edge, 1) == RTE_EDGE_ID_INVALID)
			return -EINVAL;
	return 0;
}

#endif
