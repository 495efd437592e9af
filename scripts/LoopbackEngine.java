import java.io.OutputStream;
import java.io.PrintStream;
import java.util.Arrays;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import software.amazon.dynamodb.services.local.main.ServerRunner;

/** DynamoDB Local on loopback alone, which has no option for that; prints the port it took. */
public class LoopbackEngine {
  public static void main(String[] arguments) throws Exception {
    var proxy = ServerRunner.createServerFromCommandLineArgs(
        new String[] {"-inMemory", "-sharedDb", "-disableTelemetry", "-port", "8000"});
    var field = proxy.getClass().getDeclaredField("server");
    field.setAccessible(true);
    var server = (Server) field.get(proxy);
    var connector = (ServerConnector) server.getConnectors()[0];
    connector.setHost("127.0.0.1");
    connector.setPort(0);
    proxy.start();
    if (connector != server.getConnectors()[0] || !"127.0.0.1".equals(connector.getHost())) {
      throw new IllegalStateException("listens elsewhere: " + Arrays.toString(server.getConnectors()));
    }
    System.out.println("port " + connector.getLocalPort());
    System.setOut(new PrintStream(OutputStream.nullOutputStream())); // nobody reads on
    proxy.join();
  }
}
