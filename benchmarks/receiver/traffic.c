/* Load a server on this machine: every connection sends the next webhook as soon as the last one is answered.
 *
 * traffic PORT CONNECTIONS WARMUP_S SECONDS PATH KEY BODY_FILE
 *
 * Prints one JSON object. `acknowledged` counts every 200 of the whole run; requests, seconds and latencies only
 * what was answered between the end of the warm-up and the end of the run. Latencies are exact to one percent. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER = 8192, EVENTS = 512, BUCKETS = 8192, DRAIN_US = 3000000, MOST_LOST = 1000 };

struct connection {
    int fd;
    uint64_t sent_at; /* 0 while nothing is under way */
    size_t have;
    char answer[ANSWER + 1];
};

static struct sockaddr_in server;
static char *request;
static size_t request_size;
static int epoll;
static uint64_t histogram[BUCKETS];
static uint64_t acknowledged, refused, lost, under_way;

static void die(const char *what) {
    perror(what);
    exit(2);
}

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Buckets of 1 us up to 256 us, then 128 to every doubling. */
static unsigned bucket_of(uint64_t us) {
    if (us < 256) return (unsigned)us;
    unsigned doublings = 63 - (unsigned)__builtin_clzll(us) - 7;
    unsigned bucket = doublings * 128 + (unsigned)(us >> doublings);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static double middle_of(unsigned bucket) {
    if (bucket < 256) return bucket;
    unsigned doublings = bucket / 128 - 1;
    return (double)((uint64_t)(bucket - doublings * 128) << doublings) + (double)(1ull << doublings) / 2;
}

static double percentile(uint64_t requests, double share) {
    uint64_t rank = (uint64_t)(share * (double)requests), seen = 0;
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++)
        if ((seen += histogram[bucket]) > rank) return middle_of(bucket);
    return 0;
}

static void build_request(int port, const char *path, const char *key, const char *body_file) {
    FILE *file = fopen(body_file, "rb");
    if (!file) die(body_file);
    char *body = malloc(1 << 20);
    size_t size = fread(body, 1, 1 << 20, file);
    fclose(file);
    request = malloc(size + 1024);
    int head = snprintf(request, 1024,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: */*\r\nContent-Type: application/json\r\n"
                        "api-key: %s\r\nContent-Length: %zu\r\n\r\n",
                        path, port, key, size);
    memcpy(request + head, body, size);
    request_size = (size_t)head + size;
    free(body);
}

static void open_connection(struct connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server)) die("connect");
    int yes = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
    c->have = 0;
    c->sent_at = 0;
}

static void lose(struct connection *c) {
    close(c->fd);
    under_way -= c->sent_at != 0;
    c->sent_at = 0;
    c->fd = -1;
    if (++lost > MOST_LOST) {
        fprintf(stderr, "the server closed more than %d connections\n", MOST_LOST);
        exit(3);
    }
}

/* A request fits the socket's buffer whole: the server has read the last one before it answered. */
static void send_request(struct connection *c, uint64_t now) {
    c->have = 0;
    c->sent_at = now;
    under_way++;
    if (send(c->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size) lose(c);
}

/* The status of a whole answer; 0 when more must come, -1 when it is no answer that we can read. */
static int status_of(struct connection *c) {
    c->answer[c->have] = 0;
    char *end = strstr(c->answer, "\r\n\r\n");
    if (!end) return c->have < ANSWER ? 0 : -1;
    char *length = strcasestr(c->answer, "\r\ncontent-length:");
    if (strncmp(c->answer, "HTTP/1.1 ", 9) || !length || length > end) return -1;
    size_t whole = (size_t)(end + 4 - c->answer) + strtoul(length + 17, NULL, 10);
    if (whole > ANSWER) return -1;
    return c->have < whole ? 0 : atoi(c->answer + 9);
}

int main(int argc, char **argv) {
    if (argc != 8) return 2;
    int port = atoi(argv[1]), connections = atoi(argv[2]);
    build_request(port, argv[5], argv[6], argv[7]);
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)port);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct connection *all = calloc((size_t)connections, sizeof *all);
    for (int i = 0; i < connections; i++) open_connection(&all[i]);

    uint64_t start = now_us();
    uint64_t from = start + (uint64_t)(atof(argv[3]) * 1e6), stop = from + (uint64_t)(atof(argv[4]) * 1e6);
    uint64_t now = start, requests = 0;
    for (int i = 0; i < connections; i++) send_request(&all[i], now);

    while (now < stop || (under_way && now < stop + DRAIN_US)) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, 20);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            ssize_t got = recv(c->fd, c->answer + c->have, ANSWER - c->have, 0);
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
            c->have += got > 0 ? (size_t)got : 0;
            int status = got > 0 && c->sent_at ? status_of(c) : -1;
            if (status == 0) continue;
            now = now_us();
            if (status < 0) {
                lose(c);
                if (now < stop) open_connection(c);
            } else {
                if (status == 200) acknowledged++;
                else refused++;
                if (status == 200 && now >= from && now < stop) {
                    requests++;
                    histogram[bucket_of(now - c->sent_at)]++;
                }
                under_way--;
                c->sent_at = 0;
            }
            if (now < stop && c->fd >= 0) send_request(c, now);
        }
        now = now_us();
    }
    printf("{\"requests\":%" PRIu64 ",\"seconds\":%.6f,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"acknowledged\":%" PRIu64
           ",\"errors\":%" PRIu64 "}\n",
           requests, (double)(stop - from) / 1e6, percentile(requests, 0.5) / 1e3, percentile(requests, 0.99) / 1e3,
           acknowledged, refused + lost + under_way);
    return 0;
}
