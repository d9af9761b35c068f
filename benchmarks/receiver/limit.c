/* What this machine can do at most: an epoll server that syncs once for everything that arrived in a turn.
 *
 * limit PORT FILE
 *
 * It reads no more HTTP than it must, checks nothing, and appends every body and a newline to FILE. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, CONNECTIONS = 4096, REQUEST = 32768 };

struct connection {
    size_t have;
    char request[REQUEST + 1];
};

static struct connection *connections[CONNECTIONS];
static int answers[EVENTS], answer_count;
static char *batch;
static size_t batch_size;
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n"
                             "{\"status\":\"stored\"}";

static void die(const char *what) {
    perror(what);
    exit(2);
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, CONNECTIONS)) die("listen");
    return fd;
}

static void forget(int fd) {
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

static void accept_all(int listener, int epoll) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= CONNECTIONS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        connections[fd] = malloc(sizeof **connections);
        connections[fd]->have = 0;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
    }
}

/* Read what came; when a request is whole, put its body into the batch. A client waits for its answer. */
static void take(int fd) {
    struct connection *c = connections[fd];
    ssize_t got = recv(fd, c->request + c->have, REQUEST - c->have, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        forget(fd);
        return;
    }
    c->have += (size_t)got;
    c->request[c->have] = 0;
    char *end = strstr(c->request, "\r\n\r\n");
    if (!end) return;
    char *length = strcasestr(c->request, "\r\ncontent-length:");
    if (!length || length > end) {
        forget(fd);
        return;
    }
    char *body = end + 4;
    size_t size = strtoul(length + 17, NULL, 10), head = (size_t)(body - c->request);
    if (head + size >= REQUEST) forget(fd);
    if (head + size >= REQUEST || c->have < head + size) return;
    memcpy(batch + batch_size, body, size);
    batch_size += size;
    batch[batch_size++] = '\n';
    answers[answer_count++] = fd;
    c->have = 0;
}

static void commit(int file) {
    for (size_t done = 0; done < batch_size;) {
        ssize_t written = write(file, batch + done, batch_size - done);
        if (written < 0) die("write");
        done += (size_t)written;
    }
    if (fdatasync(file)) die("fdatasync");
    for (int i = 0; i < answer_count; i++)
        if (send(answers[i], answer, sizeof answer - 1, MSG_NOSIGNAL) < 0) forget(answers[i]);
    batch_size = 0;
    answer_count = 0;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int file = open(argv[2], O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0600);
    if (file < 0) die(argv[2]);
    batch = malloc((size_t)EVENTS * REQUEST);
    int epoll = epoll_create1(0), listener = listen_on(atoi(argv[1]));
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event)) die("epoll_ctl");
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener) accept_all(listener, epoll);
            else take(events[i].data.fd);
        }
        if (answer_count) commit(file);
    }
}
