{
  "targets": [
    {
      "target_name": "octavo",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake_js",
          "message": "binding.gyp -> cmake-js -> CMakeLists.txt",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["<(PRODUCT_DIR)/octavo.node"],
          "action": [
            "node", "<!(node -p \"require.resolve('cmake-js/bin/cmake-js')\")",
            "compile", "--config", "<(CONFIGURATION_NAME)", "--arch", "<(target_arch)",
            "--out", "<(module_root_dir)/build/<(CONFIGURATION_NAME)"
          ]
        }
      ]
    }
  ]
}
