// SPDX-FileCopyrightText: 2026 The infinipot_ros authors
// SPDX-License-Identifier: Apache-2.0

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "behaviortree_cpp/bt_factory.h"
#include "geometry_msgs/msg/pose_stamped.hpp"
#include "infinipot_ros/action/ask.hpp"
#include "nav2_behavior_tree/bt_action_node.hpp"
#include "rclcpp/rclcpp.hpp"

namespace infinipot_behaviortree_cpp
{

/// Ask the visual memory, and succeed with an answer whose best evidence has a pose to drive to.
class AskMemory : public nav2_behavior_tree::BtActionNode<infinipot_ros::action::Ask>
{
public:
  using nav2_behavior_tree::BtActionNode<infinipot_ros::action::Ask>::BtActionNode;

  static BT::PortsList providedPorts()
  {
    return providedBasicPorts(
      {
        BT::InputPort<std::string>("question", "What to ask"),
        BT::InputPort<double>("max_age", 600.0, "Seconds since what was seen, at most"),
        BT::OutputPort<std::string>("answer", "The answer"),
        BT::OutputPort<geometry_msgs::msg::PoseStamped>("goal", "Where it was seen from"),
        BT::OutputPort<std::uint16_t>("error_code_id", "Error code of the result"),
        BT::OutputPort<std::string>("error_msg", "Why there is no goal"),
      });
  }

  void on_tick() override
  {
    // An empty question is refused by the memory, with a reason.
    getInput("question", goal_.question);
  }

  BT::NodeStatus on_success() override
  {
    const auto & result = *result_.result;
    setOutput("answer", result.answer);
    setOutput("error_code_id", result.error_code);
    if (!result.has_goal) {
      return fail("the answer has no place: no pose is known of its best evidence");
    }
    double max_age = 600.0;
    getInput("max_age", max_age);
    const double age = rclcpp::Duration(result.goal_age).seconds();
    if (age < 0.0 || age > max_age) {
      return fail("it was seen " + std::to_string(age) + " s ago");
    }
    auto goal = result.goal;
    // Zero: where that place is now. At the moment's own stamp tf2 may have forgotten it.
    goal.header.stamp = builtin_interfaces::msg::Time();
    setOutput("goal", goal);
    setOutput("error_msg", std::string());
    return BT::NodeStatus::SUCCESS;
  }

  BT::NodeStatus on_aborted() override
  {
    setOutput("error_code_id", result_.result->error_code);
    return fail(result_.result->message);
  }

  BT::NodeStatus on_cancelled() override
  {
    return fail("canceled");
  }

private:
  BT::NodeStatus fail(const std::string & why)
  {
    setOutput("error_msg", why);
    return BT::NodeStatus::FAILURE;
  }
};

}  // namespace infinipot_behaviortree_cpp

BT_REGISTER_NODES(factory)
{
  BT::NodeBuilder builder =
    [](const std::string & name, const BT::NodeConfiguration & config)
    {
      return std::make_unique<infinipot_behaviortree_cpp::AskMemory>(
        name, "/infinipot/ask", config);
    };

  factory.registerBuilder<infinipot_behaviortree_cpp::AskMemory>("AskMemory", builder);
}
