// A runtime of one file for `provided`, linked to nothing: makes the system calls that it is sent as numbers, by itself, and
// answers with their errors. `i386` before them: through the 32-bit table, in a child, whose signal is the answer.
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char reply[65536], answer[16384];

static int exchange(const char *request) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9001), .sin_addr.s_addr = htonl(0x7f000001)};
    int s = socket(AF_INET, SOCK_STREAM, 0), length = 0, got;
    if (connect(s, (void *)&to, sizeof to)) return 1;
    for (size_t at = 0; at < strlen(request);) at += write(s, request + at, strlen(request) - at);
    while ((got = read(s, reply + length, sizeof reply - 1 - length)) > 0) reply[length += got] = 0;
    close(s);
    return 0;
}

static int in_32_bits(long number) {
    int status;
    pid_t child = fork();
    if (child == 0) {
#ifdef __x86_64__
        long got;
        __asm__ volatile("int $0x80" : "=a"(got) : "a"(number), "b"(0), "c"(0), "d"(0) : "memory");
        _exit(0);
#endif
        raise(SIGSYS);
    }
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

int main(void) {
    for (;;) {
        if (exchange("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) return 1;
        char id[64] = "", *at = strcasestr(reply, "lambda-runtime-aws-request-id: "), *body = strstr(reply, "\r\n\r\n");
        if (!at || !body) return 2;
        sscanf(at + 31, "%63[^\r]", id);
        int length = sprintf(answer, "[\"here\"");
        char *calls = strchr(body, '"') + 1;
        for (char *call = strtok(calls, ",\""); call; call = strtok(NULL, ",\"")) {
            if (!strncmp(call, "i386 ", 5)) {
                length += sprintf(answer + length, ",\"signal %d\"", in_32_bits(atol(call + 5)));
                continue;
            }
            long a[7] = {0};
            for (int n = 0; n < 7 && *call; n++) a[n] = strtol(call, &call, 0);
            long got = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
            length += sprintf(answer + length, got < 0 ? ",\"errno %d\"" : ",\"GOT %d\"", got < 0 ? errno : (int)got);
        }
        length += sprintf(answer + length, "]");
        static char request[20000];
        sprintf(request, "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", id, length, answer);
        if (exchange(request)) return 3;
    }
}
