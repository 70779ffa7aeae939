// write_header_examples <repository> <file.cpp>: the examples of all public headers as one source.
#include <fstream>

#include "header_examples.h"

int main(int, char** argv) {
  const std::string root = argv[1];
  std::string includes, examples;
  for (const std::string& header : ito_test::public_headers(root)) {
    const std::string path = root + "/" + header;
    includes += "#include \"" + header + "\"\n";
    examples += ito_test::compilable(ito_test::example_of(ito_test::read_text(path)), header, path);
  }
  std::ofstream(argv[2]) << includes << "#include \"example_context.h\"\n"
                         << "namespace ito_examples {\n"
                         << examples << "}\n";
}
