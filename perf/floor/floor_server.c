// The floor: the least a WebSocket server can do to echo and to fan out, on one thread.
//
//   floor_server [--port PORT] [--io epoll|uring]
//
// It has no limits, timers or validation, takes every handshake with the same answer, and believes
// that clients read. It is no server to use: it is the bound that real servers are compared with.
//
//   /echo      every message comes back
//   /r/ROOM    a member of the room with that number
//   /p/ROOM    a publisher: its messages go to all members
//
// Messages that arrive in one turn of the loop are unmasked once into one batch per room, and every
// member gets that batch in one send. Port 0 lets the kernel choose; the ready line has the answer.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 1 << 16,
    ROOMS_MAX = 1 << 14,
    BACKLOG = 4096,
    EVENTS_PER_TURN = 1024,
    READ_BYTES = 512 << 10,      // one buffer for all connections
    REPLY_BYTES = 16 << 20,      // replies of one turn
    HEADER_BYTES_MIN = 6,        // of a client's frame: two bytes and the masking key
    RING_ENTRIES = 4096,
    RING_COMPLETIONS = 65536,
    RING_BUFFERS = 256, // a power of two
    RING_BUFFER_BYTES = 64 << 10, // a pipelined read stays one read
    RING_BUFFER_GROUP = 1,
    // Beyond this a send may be cut short by a full socket, which a send whose success makes no
    // completion could not tell.
    RING_SEND_BYTES_MAX = 32 << 10,
    OPCODE_CLOSE = 8,
};

static const char HANDSHAKE[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

enum role { ROLE_UNKNOWN, ROLE_ECHO, ROLE_MEMBER, ROLE_PUBLISHER };

struct bytes {
    char *data;
    uint32_t length, capacity;
};

struct connection {
    int fd; // 0 when the slot is free
    uint8_t role;
    uint32_t room, place;   // where it stands among the room's members
    uint32_t queued_turn;   // the last turn in which a send of it was put into the ring
    struct bytes unread;    // the beginning of a frame whose end has not arrived
    struct bytes unsent;    // what a full socket did not take
};

struct room {
    int *members;
    uint32_t count, capacity;
    struct bytes batch; // server frames of this turn
    bool dirty;
};

static struct connection connections[CONNECTIONS_MAX];
static struct room rooms[ROOMS_MAX];
static uint32_t dirty_rooms[ROOMS_MAX], dirty_count;
static char *read_buffer, *replies;
static size_t replies_length;
static bool use_ring;
static struct io_uring ring;
static uint32_t turn;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void *checked(void *memory) {
    if (!memory) fail("memory");
    return memory;
}

static void reserve(struct bytes *bytes, size_t more) {
    size_t wanted = bytes->length + more;
    if (wanted <= bytes->capacity) return;
    bytes->capacity = wanted * 2;
    bytes->data = checked(realloc(bytes->data, bytes->capacity));
}

static void append(struct bytes *bytes, const char *data, size_t length) {
    reserve(bytes, length);
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

static void release(struct bytes *bytes) {
    free(bytes->data);
    *bytes = (struct bytes){0};
}

// ---- connections -----------------------------------------------------------------------------

static void open_connection(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections[fd] = (struct connection){.fd = fd, .queued_turn = turn - 1};
}

static void leave_room(struct connection *connection) {
    struct room *room = &rooms[connection->room];
    int last = room->members[--room->count];
    room->members[connection->place] = last;
    connections[last].place = connection->place;
}

static void close_connection(struct connection *connection) {
    if (connection->role == ROLE_MEMBER) leave_room(connection);
    close(connection->fd);
    release(&connection->unread);
    release(&connection->unsent);
    connection->fd = 0;
}

// ---- sending ---------------------------------------------------------------------------------

static struct io_uring_sqe *entry(void) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (sqe) return sqe;
    io_uring_submit(&ring);
    return io_uring_get_sqe(&ring);
}

enum operation { OPERATION_ACCEPT, OPERATION_RECEIVE, OPERATION_SEND, OPERATION_WRITABLE };

static void tag(struct io_uring_sqe *sqe, enum operation operation, int fd) {
    sqe->user_data = (uint64_t)operation << 32 | (uint32_t)fd;
}

// With epoll every socket is watched from the start; in the ring only those that need it.
static void await_writable(int fd) {
    if (!use_ring) return;
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_poll_add(sqe, fd, POLLOUT);
    tag(sqe, OPERATION_WRITABLE, fd);
}

static void send_now(struct connection *connection, const char *data, size_t length) {
    if (connection->unsent.length) {
        append(&connection->unsent, data, length);
        return;
    }
    ssize_t sent = send(connection->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN) return; // the read side hears of it too
        sent = 0;
    }
    if ((size_t)sent == length) return;
    append(&connection->unsent, data + sent, length - sent);
    await_writable(connection->fd);
}

// Sends through the ring where it can; the bytes have to stay until the next submission, in which
// a send that must not wait is done.
static void send_bytes(struct connection *connection, const char *data, size_t length) {
    if (!use_ring) {
        send_now(connection, data, length);
        return;
    }
    if (length > RING_SEND_BYTES_MAX || connection->unsent.length) {
        if (connection->queued_turn == turn) io_uring_submit(&ring); // keep the order
        send_now(connection, data, length);
        return;
    }
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_send(sqe, connection->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    tag(sqe, OPERATION_SEND, connection->fd);
    connection->queued_turn = turn;
}

static void send_unsent(struct connection *connection) {
    struct bytes *unsent = &connection->unsent;
    if (!unsent->length) return;
    ssize_t sent = send(connection->fd, unsent->data, unsent->length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return;
    if (sent < 0) sent = 0;
    memmove(unsent->data, unsent->data + sent, unsent->length - sent);
    unsent->length -= sent;
    if (unsent->length) await_writable(connection->fd);
}

// ---- frames ----------------------------------------------------------------------------------

struct frame {
    uint8_t first; // FIN and opcode, as they go out again
    uint32_t header, length;
};

static inline void unmask(char *to, const char *from, size_t length, const char *key) {
    uint32_t half;
    memcpy(&half, key, sizeof half);
    uint64_t mask = half | (uint64_t)half << 32;
    size_t place = 0;
    for (; place + sizeof mask <= length; place += sizeof mask) {
        uint64_t word;
        memcpy(&word, from + place, sizeof word);
        word ^= mask;
        memcpy(to + place, &word, sizeof word);
    }
    for (; place < length; place++) to[place] = from[place] ^ key[place & 3];
}

// Whether a whole frame is there.
static inline bool parse_frame(const char *data, size_t length, struct frame *frame) {
    if (length < HEADER_BYTES_MIN) return false;
    const uint8_t *head = (const uint8_t *)data;
    frame->first = head[0];
    frame->length = head[1] & 127;
    frame->header = HEADER_BYTES_MIN;
    if (frame->length == 126) {
        if (length < HEADER_BYTES_MIN + 2) return false;
        frame->length = head[2] << 8 | head[3];
        frame->header += 2;
    } else if (frame->length == 127) {
        if (length < HEADER_BYTES_MIN + 8) return false;
        frame->length = (uint32_t)head[6] << 24 | head[7] << 16 | head[8] << 8 | head[9];
        frame->header += 8;
    }
    return length - frame->header >= frame->length;
}

// Appends the server's form of a client's frame; it is never longer.
static inline size_t write_frame(char *to, const char *from, const struct frame *frame) {
    size_t written = 0;
    to[written++] = frame->first;
    if (frame->length < 126) {
        to[written++] = frame->length;
    } else if (frame->length < 1 << 16) {
        to[written++] = 126;
        to[written++] = frame->length >> 8;
        to[written++] = frame->length;
    } else {
        to[written++] = 127;
        memset(to + written, 0, 4);
        uint32_t length = htonl(frame->length);
        memcpy(to + written + 4, &length, sizeof length);
        written += 8;
    }
    const char *payload = from + frame->header;
    unmask(to + written, payload, frame->length, payload - 4);
    return written + frame->length;
}

// Turns all whole frames of `data` into server frames at `to`; returns how much of `data` was used.
static size_t convert(const char *data, size_t length, char *to, size_t *written) {
    struct frame frame;
    size_t used = 0;
    while (parse_frame(data + used, length - used, &frame)) {
        *written += write_frame(to + *written, data + used, &frame);
        used += frame.header + frame.length;
    }
    return used;
}

// ---- what connections do ---------------------------------------------------------------------

static void join_room(struct connection *connection) {
    struct room *room = &rooms[connection->room];
    if (room->count == room->capacity) {
        room->capacity = room->capacity ? room->capacity * 2 : 16;
        room->members = checked(realloc(room->members, room->capacity * sizeof *room->members));
    }
    connection->place = room->count;
    room->members[room->count++] = connection->fd;
}

static void shake_hands(struct connection *connection, const char *request) {
    const char *path = request + strlen("GET ");
    bool is_member = !strncmp(path, "/r/", 3), is_publisher = !strncmp(path, "/p/", 3);
    connection->role = is_member ? ROLE_MEMBER : is_publisher ? ROLE_PUBLISHER : ROLE_ECHO;
    if (is_member || is_publisher) connection->room = (uint32_t)atoi(path + 3) % ROOMS_MAX;
    send_bytes(connection, HANDSHAKE, sizeof HANDSHAKE - 1);
    if (is_member) join_room(connection);
}

static size_t reply(struct connection *connection, const char *data, size_t length) {
    if (replies_length + length > REPLY_BYTES) {
        if (use_ring) io_uring_submit(&ring);
        replies_length = 0;
    }
    size_t begin = replies_length;
    size_t used = convert(data, length, replies, &replies_length);
    size_t written = replies_length - begin;
    if (written) send_bytes(connection, replies + begin, written);
    if (!use_ring) replies_length = begin; // it is in the kernel
    return used;
}

static size_t publish(struct connection *connection, const char *data, size_t length) {
    struct room *room = &rooms[connection->room];
    reserve(&room->batch, length);
    size_t written = room->batch.length;
    size_t used = convert(data, length, room->batch.data, &written);
    room->batch.length = written;
    if (written && !room->dirty) {
        room->dirty = true;
        dirty_rooms[dirty_count++] = connection->room;
    }
    return used;
}

static bool is_close(const char *data, size_t length) {
    return length >= HEADER_BYTES_MIN && (data[0] & 15) == OPCODE_CLOSE;
}

// The client's close frame goes back as it came; then the reading side hears of the end.
static void say_goodbye(struct connection *connection, const char *data, size_t length) {
    char answer[2 + 125]; // a control frame has 125 bytes at most
    struct frame frame;
    if (parse_frame(data, length, &frame) && frame.length <= 125) {
        send_now(connection, answer, write_frame(answer, data, &frame));
    }
    shutdown(connection->fd, SHUT_RDWR);
}

static void take(struct connection *connection, const char *data, size_t length) {
    if (connection->role == ROLE_UNKNOWN) {
        shake_hands(connection, data);
        return;
    }
    if (is_close(data, length)) {
        say_goodbye(connection, data, length);
        return;
    }
    bool publishes = connection->role == ROLE_PUBLISHER; // members have nothing to say
    size_t used = publishes ? publish(connection, data, length) : reply(connection, data, length);
    connection->unread.length = 0;
    if (used < length) append(&connection->unread, data + used, length - used);
}

static void fan_out(void) {
    for (uint32_t which = 0; which < dirty_count; which++) {
        struct room *room = &rooms[dirty_rooms[which]];
        for (uint32_t member = 0; member < room->count; member++) {
            send_bytes(&connections[room->members[member]], room->batch.data, room->batch.length);
        }
    }
    if (use_ring && dirty_count) io_uring_submit(&ring);
    for (uint32_t which = 0; which < dirty_count; which++) {
        rooms[dirty_rooms[which]].dirty = false;
        rooms[dirty_rooms[which]].batch.length = 0;
    }
    dirty_count = 0;
}

// ---- epoll -----------------------------------------------------------------------------------

static void watch(int epoll, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
}

static void accept_all(int epoll, int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= CONNECTIONS_MAX) {
            close(fd);
            continue;
        }
        open_connection(fd);
        watch(epoll, fd, EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP);
    }
}

static void read_all(struct connection *connection) {
    for (;;) {
        uint32_t kept = connection->unread.length;
        if (kept >= READ_BYTES) {
            close_connection(connection); // one frame larger than all this is for
            return;
        }
        if (kept) memcpy(read_buffer, connection->unread.data, kept);
        size_t space = READ_BYTES - kept;
        ssize_t got = recv(connection->fd, read_buffer + kept, space, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            close_connection(connection);
            return;
        }
        take(connection, read_buffer, kept + got);
        if ((size_t)got < space) return;
    }
}

static void run_epoll(int listener) {
    static struct epoll_event events[EVENTS_PER_TURN];
    int epoll = epoll_create1(0);
    watch(epoll, listener, EPOLLIN);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS_PER_TURN, -1);
        for (int index = 0; index < count; index++) {
            int fd = events[index].data.fd;
            if (fd == listener) {
                accept_all(epoll, listener);
                continue;
            }
            struct connection *connection = &connections[fd];
            if (connection->fd != fd) continue; // closed in this turn
            if (events[index].events & EPOLLOUT) send_unsent(connection);
            if (events[index].events & ~EPOLLOUT) read_all(connection);
        }
        fan_out();
    }
}

// ---- io_uring --------------------------------------------------------------------------------

static struct io_uring_buf_ring *buffer_ring;
static char *buffers;

static void arm_accept(int listener) {
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_NONBLOCK);
    tag(sqe, OPERATION_ACCEPT, listener);
}

static void arm_receive(int fd) {
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = RING_BUFFER_GROUP;
    tag(sqe, OPERATION_RECEIVE, fd);
}

static void give_buffer(uint16_t buffer) {
    char *data = buffers + (size_t)buffer * RING_BUFFER_BYTES;
    int mask = io_uring_buf_ring_mask(RING_BUFFERS);
    io_uring_buf_ring_add(buffer_ring, data, RING_BUFFER_BYTES, buffer, mask, 0);
    io_uring_buf_ring_advance(buffer_ring, 1);
}

static void set_up_ring(void) {
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = RING_COMPLETIONS,
    };
    if ((errno = -io_uring_queue_init_params(RING_ENTRIES, &ring, &params))) fail("io_uring");
    io_uring_register_ring_fd(&ring);
    size_t bytes = RING_BUFFERS * sizeof(struct io_uring_buf);
    buffer_ring = checked(aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095));
    memset(buffer_ring, 0, bytes);
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)buffer_ring,
        .ring_entries = RING_BUFFERS,
        .bgid = RING_BUFFER_GROUP,
    };
    if ((errno = -io_uring_register_buf_ring(&ring, &registration, 0))) fail("buffer ring");
    buffers = checked(malloc((size_t)RING_BUFFERS * RING_BUFFER_BYTES));
    io_uring_buf_ring_init(buffer_ring);
    for (int buffer = 0; buffer < RING_BUFFERS; buffer++) give_buffer(buffer);
}

static void accepted(int listener, const struct io_uring_cqe *cqe) {
    if (cqe->res >= CONNECTIONS_MAX) {
        close(cqe->res);
    } else if (cqe->res >= 0) {
        open_connection(cqe->res);
        arm_receive(cqe->res);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) arm_accept(listener);
}

static void received(struct connection *connection, int fd, const struct io_uring_cqe *cqe) {
    if (cqe->res == -ENOBUFS) {
        arm_receive(fd);
        return;
    }
    if (cqe->res <= 0) {
        if (connection->fd == fd) close_connection(connection);
        return;
    }
    uint16_t buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    const char *data = buffers + (size_t)buffer * RING_BUFFER_BYTES;
    uint32_t kept = connection->unread.length;
    if (kept + cqe->res > READ_BYTES) {
        shutdown(fd, SHUT_RDWR); // one frame larger than all this is for
        kept = 0;
    } else if (kept) {
        memcpy(read_buffer, connection->unread.data, kept);
        memcpy(read_buffer + kept, data, cqe->res);
        take(connection, read_buffer, kept + cqe->res);
    } else {
        take(connection, data, cqe->res);
    }
    give_buffer(buffer);
    if (!(cqe->flags & IORING_CQE_F_MORE)) arm_receive(fd);
}

static void run_ring(int listener) {
    set_up_ring();
    arm_accept(listener);
    for (;;) {
        io_uring_submit_and_wait(&ring, 1);
        turn++;
        replies_length = 0; // the last turn's sends are done
        unsigned head, count = 0;
        struct io_uring_cqe *cqe;
        io_uring_for_each_cqe(&ring, head, cqe) {
            count++;
            int fd = (int)(uint32_t)cqe->user_data;
            enum operation operation = cqe->user_data >> 32;
            if (operation == OPERATION_ACCEPT) accepted(listener, cqe);
            if (operation == OPERATION_RECEIVE) received(&connections[fd], fd, cqe);
            // A full socket: this client does not read, which is against the rules here.
            if (operation == OPERATION_WRITABLE) send_unsent(&connections[fd]);
            if (operation == OPERATION_SEND && cqe->res == -EAGAIN) shutdown(fd, SHUT_RDWR);
        }
        io_uring_cq_advance(&ring, count);
        fan_out();
    }
}

// ---- start -----------------------------------------------------------------------------------

static int listen_on(uint16_t port) {
    // With io_uring the listener blocks: the ring waits for it.
    int flags = use_ring ? 0 : SOCK_NONBLOCK, on = 1;
    int listener = socket(AF_INET, SOCK_STREAM | flags, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t length = sizeof address;
    if (bind(listener, (void *)&address, length) || listen(listener, BACKLOG)) fail("listen");
    getsockname(listener, (void *)&address, &length);
    printf("ready 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void raise_file_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int count, char **arguments) {
    int port = 0;
    for (int index = 1; index + 1 < count; index += 2) {
        if (!strcmp(arguments[index], "--port")) port = atoi(arguments[index + 1]);
        if (!strcmp(arguments[index], "--io")) use_ring = !strcmp(arguments[index + 1], "uring");
    }
    raise_file_limit();
    read_buffer = checked(malloc(READ_BYTES + 1));
    replies = checked(malloc(REPLY_BYTES));
    int listener = listen_on(port);
    if (use_ring) run_ring(listener);
    else run_epoll(listener);
}
