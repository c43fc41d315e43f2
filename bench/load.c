/* Many connections that ask the same thing again and again, at little cost to the machine that is measured.
 *
 *   load PORT CONNECTIONS SECONDS NEEDLE < REQUEST
 *
 * Each connection sends the request (a whole HTTP/1.1 request, from stdin), reads the answer to the end that its
 * Content-Length tells, and sends it again, until the time is over; what was asked by then is still waited for.
 * An answer is good when its status is 200 and NEEDLE stands in it.  Prints, in this order, one number a line:
 * microseconds from the first request to the last answer, microseconds of processor time that this program took, the
 * number of answers that were not good, and then how many microseconds each good answer took.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROOM (1 << 16)

struct connection {
    int fd;
    size_t length;
    long long began_us;
    char answer[ROOM];
};

static char request[ROOM];
static size_t request_length;
static int port, poller;

static long long now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void ask(struct connection *one)
{
    one->length = 0;
    one->began_us = now_us();
    if (send(one->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length)
        fail("send");
}

static void open_connection(struct connection *one)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    int yes = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (one->fd < 0 || connect(one->fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, one->fd, &event) < 0)
        fail("epoll_ctl");
}

/* Whether the whole answer is there. */
static int is_whole(struct connection *one)
{
    one->answer[one->length] = 0;
    char *body = strstr(one->answer, "\r\n\r\n");
    char *length = body ? strcasestr(one->answer, "\r\ncontent-length:") : NULL;
    if (body && (!length || length > body)) {
        fprintf(stderr, "an answer without a length: %s\n", one->answer);
        exit(1);
    }
    return body && one->length >= (size_t)(body + 4 - one->answer) + atol(length + 17);
}

static void receive(struct connection *one)
{
    ssize_t got = recv(one->fd, one->answer + one->length, ROOM - 1 - one->length, 0);
    if (got <= 0)
        fail("an answer broke off");
    one->length += got;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    port = atoi(argv[1]);
    int connections = atoi(argv[2]), asked = 0;
    long long began_us, last_us, until_us, bad = 0, good = 0, *took_us = NULL;
    size_t room = 0;
    struct connection *all = calloc(connections, sizeof *all);
    struct rusage used;
    struct epoll_event events[256];

    request_length = fread(request, 1, sizeof request, stdin);
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < connections; i++)
        open_connection(&all[i]);
    last_us = began_us = now_us();
    until_us = began_us + (long long)(atof(argv[3]) * 1e6);
    for (; asked < connections; asked++)
        ask(&all[asked]);
    while (asked > 0) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *one = events[i].data.ptr;
            receive(one);
            if (!is_whole(one))
                continue;
            last_us = now_us();
            if (strncmp(one->answer, "HTTP/1.1 200", 12) == 0 && strstr(one->answer, argv[4])) {
                if ((size_t)good == room)
                    took_us = realloc(took_us, (room = room * 2 + 1024) * sizeof *took_us);
                took_us[good++] = last_us - one->began_us;
            } else if (bad++ == 0)
                fprintf(stderr, "%s\n", one->answer);
            if (last_us < until_us)
                ask(one);
            else
                asked--;
        }
    }
    getrusage(RUSAGE_SELF, &used);
    printf("%lld\n%lld\n%lld\n", last_us - began_us,
           (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL + used.ru_utime.tv_usec + used.ru_stime.tv_usec, bad);
    for (long long i = 0; i < good; i++)
        printf("%lld\n", took_us[i]);
    return 0;
}
