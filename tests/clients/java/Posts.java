// Posts a chat completion again and again with the JDK's own HTTP client, as LangChain4j and Spring AI do: on plain HTTP
// it offers HTTP/2 with every new connection. Prints how many answers were whole, and how each of the others ended.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;

public class Posts {
    public static void main(String[] arguments) throws Exception {
        URI address = URI.create(arguments[0]);
        String token = arguments[1];
        int count = Integer.parseInt(arguments[2]);
        String body = "{\"model\":\"gemini-2.5-flash\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
        HttpClient client = HttpClient.newHttpClient();
        int whole = 0;
        for (int at = 0; at < count; at++) {
            HttpRequest request = HttpRequest.newBuilder(address)
                .header("authorization", "Bearer " + token)
                .header("content-type", "application/json")
                .POST(BodyPublishers.ofString(body))
                .build();
            try {
                HttpResponse<String> answer = client.send(request, BodyHandlers.ofString());
                if (answer.statusCode() == 200 && answer.body().contains("\"choices\"")) {
                    whole++;
                } else {
                    System.out.println("request " + at + ": status " + answer.statusCode());
                }
            } catch (java.io.IOException lost) {
                System.out.println("request " + at + ": " + lost);
            }
        }
        System.out.println("whole: " + whole);
    }
}
