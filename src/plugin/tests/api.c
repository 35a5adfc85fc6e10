/*
 * Against warren.h only: opens a host, applies states, reads counters and closes, as often as told, and makes every mistake that the
 * library is to refuse. `api FOLDER TIMES`, with the files that main.rs puts into the folder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <warren.h>

#define CHECK(what) check(what, #what, __LINE__)

static struct warren_error error;
static unsigned int lines, opened;

static void check(int right, const char *what, int line)
{
	if (right)
		return;
	fprintf(stderr, "line %d: not so: %s\nthe last error: %d %s\n", line, what, error.code, error.message);
	exit(EXIT_FAILURE);
}

/* Whether a call failed with a code and a message that names something. */
static int fails(int32_t result, int32_t code, const char *text)
{
	return result == code && error.code == code && strstr(error.message, text) != NULL;
}

static void count_line(void *user, uint32_t level, const char *text)
{
	(void)level;
	(void)text;
	++*(unsigned int *)user;
}

static int32_t open_port(void *user, const struct warren_port *port, struct warren_device *device)
{
	const unsigned char mac[6] = {2, 0, 0, 0, 0, 9};

	(void)user;
	opened++;
	memcpy(device->mac, mac, sizeof(mac));
	return strcmp(port->name, "vm0") == 0 && port->mtu != 1500;
}

static int32_t refuse_port(void *user, const struct warren_port *port, struct warren_device *device)
{
	(void)user;
	(void)port;
	(void)device;
	return -19;
}

static struct warren *open_host(const char *file)
{
	struct warren_options options = {.size = sizeof(options), .host_file = file, .log = count_line, .user = &lines};
	struct warren *host;

	CHECK(warren_open(&options, &host, &error) == WARREN_OK);
	return host;
}

static void use(const char *folder)
{
	struct warren_applied applied = {.size = sizeof(applied)};
	struct warren_counters counters = {.size = sizeof(counters)};
	struct warren_port port = {.size = sizeof(port)};
	struct warren *host, *other;
	char file[512], state[512];
	uint64_t drops[256];
	FILE *text;
	size_t length;

	snprintf(file, sizeof(file), "%s/host-a.toml", folder);
	/* Two at once have nothing in common. */
	host = open_host(file);
	other = open_host(file);
	CHECK(warren_workers(host) == 1 && warren_ports(host) >= 3);
	CHECK(warren_port_info(host, 0, &port, &error) == WARREN_OK);
	CHECK(strcmp(port.name, "vm0") == 0 && port.role == WARREN_ROLE_INSTANCE && port.owner == 0);
	CHECK(warren_port_counters(host, 0, &counters, &error) == WARREN_OK && counters.rx_packets == 0);
	CHECK(warren_reasons() <= 256 && warren_reason(0) != NULL && warren_reason(warren_reasons()) == NULL);
	CHECK(warren_drops(host, 0, drops, warren_reasons(), &error) == WARREN_OK && drops[0] == 0);

	snprintf(state, sizeof(state), "%s/two-hosts.state.yaml", folder);
	CHECK(warren_apply(host, state, &applied, &error) == WARREN_OK);
	CHECK(applied.added == 0 && applied.removed == 0 && applied.changed == 0 && applied.late == 0);
	text = fopen(state, "r");
	CHECK(text != NULL);
	static char document[1 << 16];
	length = fread(document, 1, sizeof(document), text);
	fclose(text);
	CHECK(warren_apply_text(host, document, length, NULL, &error) == WARREN_OK);
	/* What is wrong is refused, whole, by name. */
	snprintf(state, sizeof(state), "%s/wrong.yaml", folder);
	CHECK(fails(warren_apply(host, state, &applied, &error), WARREN_STATE, "vpc-blue"));
	CHECK(fails(warren_apply(host, "/nowhere", &applied, &error), WARREN_STATE, "/nowhere"));
	CHECK(fails(warren_apply_text(host, "Vpcs: [", 7, NULL, &error), WARREN_STATE, "YAML"));
	CHECK(fails(warren_apply_text(host, "\xff", 1, NULL, &error), WARREN_STATE, "UTF-8"));

	CHECK(fails(warren_port_info(host, 999, &port, &error), WARREN_PORT, "999"));
	CHECK(fails(warren_drops(host, 0, drops, 1, &error), WARREN_ARGUMENT, "warren_reasons()"));
	counters.size = 3;
	CHECK(fails(warren_port_counters(host, 0, &counters, &error), WARREN_ARGUMENT, "sizeof(struct warren_counters)"));
	CHECK(warren_close(host, &error) == WARREN_OK);
	CHECK(warren_workers(other) == 1);
	CHECK(warren_close(other, NULL) == WARREN_OK);
}

static void refusals(const char *folder)
{
	struct warren_options options = {.size = sizeof(options)};
	struct warren_worker *worker;
	const struct warren_burst *bursts;
	struct warren *host;
	char file[512];

	CHECK(fails(warren_open(NULL, &host, &error), WARREN_ARGUMENT, "options is NULL"));
	CHECK(fails(warren_open(&options, NULL, &error), WARREN_ARGUMENT, "host is NULL"));
	CHECK(fails(warren_open(&options, &host, &error), WARREN_ARGUMENT, "host_file is NULL"));
	options.size = 1;
	CHECK(fails(warren_open(&options, &host, &error), WARREN_ARGUMENT, "sizeof(struct warren_options)"));
	options.size = sizeof(options) + 8;
	CHECK(fails(warren_open(&options, &host, &error), WARREN_ARGUMENT, "as new as the warren.h"));
	options.size = sizeof(options);
	options.host_file = "/nowhere.toml";
	CHECK(fails(warren_open(&options, &host, &error), WARREN_HOST, "/nowhere.toml") && host == NULL);
	snprintf(file, sizeof(file), "%s/no-mac.toml", folder);
	options.host_file = file;
	CHECK(fails(warren_open(&options, &host, &error), WARREN_HOST, "uplink"));
	options.open_port = refuse_port;
	CHECK(fails(warren_open(&options, &host, &error), WARREN_DEVICE, "-19"));
	options.open_port = open_port;
	options.flags = 1u << 31;
	CHECK(fails(warren_open(&options, &host, &error), WARREN_ARGUMENT, "flags"));
	options.flags = 0;
	options.workers = 100000;
	CHECK(fails(warren_open(&options, &host, &error), WARREN_HOST, "workers"));
	options.workers = 2;
	opened = 0;
	CHECK(warren_open(&options, &host, &error) == WARREN_OK && opened == warren_ports(host));
	CHECK(warren_workers(host) == 2);
	CHECK(fails(warren_worker_open(host, 0, NULL, &worker, &error), WARREN_ARGUMENT, "pool is NULL") && worker == NULL);
	CHECK(fails(warren_worker_open(host, 7, (struct rte_mempool *)&worker, &worker, &error), WARREN_ARGUMENT, "7"));
	CHECK(warren_process(NULL, 0, NULL, 0, 0, &bursts) == WARREN_ARGUMENT);
	CHECK(warren_quiesce(NULL) == WARREN_ARGUMENT && warren_worker_close(NULL) == WARREN_ARGUMENT);
	CHECK(warren_close(host, &error) == WARREN_OK);
	CHECK(fails(warren_close(NULL, &error), WARREN_ARGUMENT, "host is NULL"));
	CHECK(warren_workers(NULL) == 0 && warren_ports(NULL) == 0);
}

int main(int argc, char **argv)
{
	int times = argc > 2 ? atoi(argv[2]) : 0;

	CHECK(times > 0);
	CHECK(warren_version() == WARREN_VERSION);
	for (int i = 0; i < times; i++)
		use(argv[1]);
	refusals(argv[1]);
	CHECK(lines > 0);
	return EXIT_SUCCESS;
}
