/* A claude that costs nothing: the stream-json protocol in both directions, in about a millisecond.
 *
 * Words in the prompt choose what it does:
 *   FAKE:n=20        number of text deltas (default 1)
 *   FAKE:size=100    bytes of each delta's text (default 4)
 *   FAKE:us=20000    microseconds before each delta (default 0)
 *   FAKE:stamp       each delta's text is the CLOCK_MONOTONIC time, in nanoseconds, at which it was written
 * It answers control requests and exits at the end of stdin.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SESSION "\"session_id\":\"00000000-0000-4000-8000-000000000000\""

static long option(const char *line, const char *name, long otherwise)
{
    const char *found = strstr(line, name);
    return found ? atol(found + strlen(name)) : otherwise;
}

static void delta(const char *text, size_t length)
{
    fputs("{\"type\":\"stream_event\",\"event\":{\"type\":\"content_block_delta\",\"index\":0,"
          "\"delta\":{\"type\":\"text_delta\",\"text\":\"", stdout);
    fwrite(text, 1, length, stdout);
    fputs("\"}}," SESSION ",\"parent_tool_use_id\":null,\"uuid\":\"e4e1c241-fc1a-4ccc-8a08-6fc9c0e41dfa\"}\n", stdout);
}

static void answer(const char *line)
{
    long n = option(line, "FAKE:n=", 1), size = option(line, "FAKE:size=", 4), us = option(line, "FAKE:us=", 0);
    int stamp = strstr(line, "FAKE:stamp") != NULL;
    char *text = malloc(size + 1);
    memset(text, 'w', size);
    text[size - 1] = ' ';
    puts("{\"type\":\"system\",\"subtype\":\"init\",\"model\":\"fake-model\",\"tools\":[]," SESSION "}");
    puts("{\"type\":\"stream_event\",\"event\":{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\","
         "\"role\":\"assistant\",\"model\":\"fake-model\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,"
         "\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}," SESSION ",\"parent_tool_use_id\":null}");
    puts("{\"type\":\"stream_event\",\"event\":{\"type\":\"content_block_start\",\"index\":0,"
         "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}," SESSION ",\"parent_tool_use_id\":null}");
    for (long i = 0; i < n; i++) {
        if (us) {
            fflush(stdout);
            usleep(us);
        }
        if (stamp) {
            struct timespec now;
            char when[32];
            clock_gettime(CLOCK_MONOTONIC, &now);
            delta(when, snprintf(when, sizeof when, "%ld%09ld ", now.tv_sec, now.tv_nsec));
            fflush(stdout);
        } else {
            delta(text, size);
        }
    }
    puts("{\"type\":\"stream_event\",\"event\":{\"type\":\"content_block_stop\",\"index\":0}," SESSION ",\"parent_tool_use_id\":null}");
    puts("{\"type\":\"stream_event\",\"event\":{\"type\":\"message_stop\"}," SESSION ",\"parent_tool_use_id\":null}");
    printf("{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"api_error_status\":null,\"num_turns\":1,"
           "\"result\":\"\",\"stop_reason\":\"end_turn\"," SESSION ",\"total_cost_usd\":0.001,"
           "\"usage\":{\"input_tokens\":3,\"output_tokens\":%ld,\"cache_creation_input_tokens\":0,"
           "\"cache_read_input_tokens\":0}}\n", n);
    fflush(stdout);
    free(text);
}

static void control(const char *line)
{
    const char *id = strstr(line, "\"request_id\"");
    const char *from = id ? strchr(id + strlen("\"request_id\""), '"') : NULL;
    const char *to = from ? strchr(from + 1, '"') : NULL;
    if (to) {
        printf("{\"type\":\"control_response\",\"response\":{\"subtype\":\"success\",\"request_id\":\"%.*s\",\"response\":{}}}\n",
               (int)(to - from - 1), from + 1);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    static char buffer[1 << 16];
    char *line = NULL;
    size_t room = 0;

    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("2.1.197 (Claude Code)");
        return 0;
    }
    while (getline(&line, &room, stdin) > 0) {
        if (strstr(line, "\"control_request\""))
            control(line);
        else if (strstr(line, "\"user\""))
            answer(line);
    }
    return 0;
}
