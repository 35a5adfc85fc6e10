/*
 * Warren's C API: a VPC host inside a DPDK program, which owns EAL, devices, mbufs and threads. docs/plugin.md is the manual.
 *
 * Every function that can fail returns WARREN_OK or more, or one of the negative codes below. A struct with a `size` says the
 * caller's sizeof of it. Made by cbindgen: do not edit.
 */

#ifndef WARREN_H
#define WARREN_H

#include <stddef.h>
#include <stdint.h>

// What warren_version() returns, of this header: major, minor and patch, a byte each. A library of another major version has another
// SONAME; one of an older minor version may lack functions.
#define WARREN_VERSION 256

// The most packets that warren_process() takes at once.
#define WARREN_BURST 1024

// The port of an instance: one network interface.
#define WARREN_ROLE_INSTANCE 0

// A port of the underlay.
#define WARREN_ROLE_UPLINK 1

// A port with link-local services of the host.
#define WARREN_ROLE_SERVICE 2

// A port that leads outside: the internet, circuits.
#define WARREN_ROLE_GATEWAY 3

// The port of a routing daemon that speaks as a gateway port.
#define WARREN_ROLE_CONTROL 4

// The host file's control socket is served, as `warren run` does, so that `warren show`, `warren apply`, `warren capture` and
// `warren trace` work. This takes a thread, and one for each client.
#define WARREN_CONTROL_SOCKET 1

// Done.
#define WARREN_OK 0

// An argument is NULL, of the wrong size or out of range.
#define WARREN_ARGUMENT -1

// The host file is wrong, or does not fit the state.
#define WARREN_HOST -2

// The state is wrong, or does not fit the host. Nothing has changed.
#define WARREN_STATE -3

// The program did not open a port's device.
#define WARREN_DEVICE -4

// There is no such port.
#define WARREN_PORT -5

// The port is another worker's.
#define WARREN_OWNER -6

// Workers are open, or this one has been opened before.
#define WARREN_BUSY -7

// The system refused a thread or a socket.
#define WARREN_SYSTEM -8

// A fault of Warren's: please report it. A worker that returned it does nothing any more.
#define WARREN_PANIC -9

// Bytes of a message, the final NUL included.
#define WARREN_MESSAGE_BYTES 4092

// Something does not work.
#define WARREN_LOG_ERROR 1

// Something is surely not as intended.
#define WARREN_LOG_WARNING 2

// Something has changed.
#define WARREN_LOG_INFO 3

// DPDK's packet buffer.
struct rte_mbuf;

// DPDK's pool of packet buffers.
struct rte_mempool;

// A host that the program is a part of. Its functions may be called by any thread at any time, but for warren_close(). Several hosts
// in one program have nothing in common.
struct warren;

// A worker. One thread at a time uses it, usually an lcore's.
struct warren_worker;

// A port of the host file.
struct warren_port {
    // sizeof(struct warren_port), set by the caller of warren_port_info().
    size_t size;
    // Its name. The string is the host's (struct warren) and lives as long.
    const char *name;
    // What the host file says of the device: DPDK's device string, or whatever the program makes of it. Lives as the name.
    const char *device;
    // The port's number: the position in the host file, from 0.
    uint16_t index;
    // The largest IP packet, in bytes.
    uint16_t mtu;
    // Receive queues, and as many transmit queues, of which worker W uses number Q where (owner + Q) % workers is W.
    uint16_t queues;
    // 1 if the host file says the MAC.
    uint8_t has_mac;
    // The MAC that the host file says; zeros if none.
    uint8_t mac[6];
    // One of WARREN_ROLE_...
    uint32_t role;
    // The worker that an instance's packets come to, and that sends where others have no queue.
    uint32_t owner;
};

// A device, as the program opened it.
struct warren_device {
    // Its MAC address.
    uint8_t mac[6];
    // 1 if it sends chained mbufs. If not, Warren makes them one piece first.
    uint8_t segments;
    // 1 if it computes the UDP checksums that RTE_MBUF_F_TX_UDP_CKSUM asks for. If not, Warren never asks.
    uint8_t udp_checksum;
};

// How a host is to be opened. What is not needed is zero.
struct warren_options {
    // sizeof(struct warren_options).
    size_t size;
    // The host file. `control`, `workers.connections`, `gateway`, `encapsulation` and the ports are as for `warren run`; `eal`,
    // `workers.idle`, `workers.burst` and `descriptors` have no meaning; `bgp`, `propagation` and `flow_logs` are refused.
    const char *host_file;
    // The state, a file or a folder; NULL: the one that the host file names.
    const char *state;
    // Workers; 0: as many as the host file has `workers.cores`, one if it has none.
    uint32_t workers;
    // 0, or WARREN_CONTROL_SOCKET.
    uint32_t flags;
    // Opens the device of a port, and tells of it. Called by warren_open(), on its thread, for each port; returns 0, or something
    // else where the device is not there, which ends warren_open() with WARREN_DEVICE. NULL: no devices are opened, and the
    // host file says the MAC of each uplink, gateway and service port.
    int32_t (*open_port)(void *user, const struct warren_port *port, struct warren_device *device);
    // Takes a line of the log, of the level WARREN_LOG_... The text is valid during the call. Called on the management thread and
    // on that which calls warren_open(), never on a worker's. NULL: nothing is logged.
    void (*log)(void *user, uint32_t level, const char *text);
    // Given to open_port and log.
    void *user;
    // The CPUs that the management thread may run on; NULL: those of the thread that calls warren_open(). It should not be
    // one that polls.
    const uint32_t *cpus;
    // How many those are.
    size_t cpu_count;
};

// What is wrong: which thing, why, and what would be right. Functions that take one write it when they fail; NULL: not wanted.
struct warren_error {
    // What the function returns.
    int32_t code;
    // Text in UTF-8, in lines; cut where it is too long.
    char message[WARREN_MESSAGE_BYTES];
};

// What a change of the state did.
struct warren_applied {
    // sizeof(struct warren_applied), set by the caller.
    size_t size;
    // How often tables have been published.
    uint64_t generation;
    // Workers that had not used the new state a second after: they neither called warren_process() nor warren_quiesce().
    uint32_t late;
    // Resources that are new, gone, and different.
    uint32_t added;
    // See `added`.
    uint32_t removed;
    // See `added`.
    uint32_t changed;
};

// What was counted at a port. Bytes are of whole frames.
struct warren_counters {
    // sizeof(struct warren_counters), set by the caller.
    size_t size;
    // Packets given to warren_process().
    uint64_t rx_packets;
    // Their bytes.
    uint64_t rx_bytes;
    // Packets given back by it.
    uint64_t tx_packets;
    // Their bytes.
    uint64_t tx_bytes;
    // Packets dropped, for all reasons.
    uint64_t dropped;
};

// Packets for a port.
struct warren_burst {
    // The program's from now on: it sends or frees each. The array itself is the worker's, and valid until the next call about it.
    struct rte_mbuf **mbufs;
    // How many.
    uint32_t count;
    // The number of the port to send them out of.
    uint16_t port;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version; see WARREN_VERSION.
uint32_t warren_version(void);

// Opens a host: reads the host file and the state, has the program open the ports' devices, and starts the management
// thread. Writes the host to `*host`; NULL where it fails. The devices are the program's, also then.
int32_t warren_open(const struct warren_options *options, struct warren **host, struct warren_error *error);

// Closes a host, which must not be used any more: its workers are closed before, and its mempools and the EAL live until then.
int32_t warren_close(struct warren *host,
                     struct warren_error *error);

// How many workers the host has; 0 if it is NULL.
uint32_t warren_workers(const struct warren *host);

// How many ports the host has; 0 if it is NULL.
uint32_t warren_ports(const struct warren *host);

// Describes a port, in a struct whose `size` is set.
int32_t warren_port_info(const struct warren *host,
                         uint16_t index,
                         struct warren_port *port,
                         struct warren_error *error);

// Puts a state in force, a file or a folder, as `warren apply` does: whole or not at all. Waits up to a second until all workers
// use it, so it must not be called on the thread of a worker, unless warren_quiesce() was called there since its last
// warren_process(). `applied` may be NULL.
int32_t warren_apply(const struct warren *host,
                     const char *state,
                     struct warren_applied *applied,
                     struct warren_error *error);

// As warren_apply(), with a state document of `length` bytes in memory, YAML or JSON.
int32_t warren_apply_text(const struct warren *host,
                          const char *text,
                          size_t length,
                          struct warren_applied *applied,
                          struct warren_error *error);

// Reads what was counted at a port since the host was opened, in a struct whose `size` is set.
int32_t warren_port_counters(const struct warren *host,
                             uint16_t port,
                             struct warren_counters *counters,
                             struct warren_error *error);

// Reads how many packets were dropped at a port, by reason, into an array of warren_reasons() numbers: `count` says that it is.
int32_t warren_drops(const struct warren *host,
                     uint16_t port,
                     uint64_t *drops,
                     uint32_t count,
                     struct warren_error *error);

// How many reasons for drops there are.
uint32_t warren_reasons(void);

// The name of a reason, as `warren show drops` has it; NULL if there is none of that number. Numbers differ between versions.
const char *warren_reason(uint32_t number);

// Opens worker number `number`, from 0 on, once. `pool` is where the host's own frames come from (answers of DHCP, requests for
// neighbours), of which there are few; that of the first worker opened serves for all. Its buffers hold a frame of the largest MTU and
// RTE_PKTMBUF_HEADROOM, and it lives until the host is closed.
int32_t warren_worker_open(const struct warren *host,
                           uint32_t number,
                           struct rte_mempool *pool,
                           struct warren_worker **worker,
                           struct warren_error *error);

// Closes a worker, which must not be used any more; its number can't be opened again. What others have for it is lost.
int32_t warren_worker_close(struct warren_worker *worker);

// Takes `count` packets, WARREN_BURST at most, that came from a port of the host file, and returns how many bursts there are to send,
// of this worker's packets and of what other workers and the management thread have for it; `*bursts` is the first. The
// packets are the worker's from the call on: each comes back in a burst, here or at another worker, or is freed and counted. They are
// direct mbufs with a reference count of 1 and RTE_PKTMBUF_HEADROOM bytes of headroom.
//
// `now` is the time in nanoseconds, of any beginning, the same clock for all workers; it does not go back.
//
// To be called often, also without packets (`count` 0, `mbufs` may be NULL, `port` is not looked at): every 100 us is enough.
//
// Fails, having taken nothing, with WARREN_ARGUMENT, WARREN_PORT, WARREN_OWNER; or with WARREN_PANIC, having taken all.
int32_t warren_process(struct warren_worker *worker,
                       uint16_t port,
                       struct rte_mbuf *const *mbufs,
                       uint32_t count,
                       uint64_t now,
                       const struct warren_burst **bursts);

// Says that the worker does nothing until its next warren_process(): to be called before its thread sleeps, blocks or applies a state, so
// that no update waits for it.
int32_t warren_quiesce(struct warren_worker *worker);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* WARREN_H */
